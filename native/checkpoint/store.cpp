#include "checkpoint/store.h"

#include <algorithm>

#include "checkpoint/load.h"
#include "checkpoint/pack.h"
#include "checkpoint/problem.h"

namespace kvasir {
namespace {

constexpr int64_t kMaxDimension = int64_t{1} << 40;

[[noreturn]] void fail(ErrorKind kind, const std::string& name, const std::string& what,
                       const std::string& expected, const std::string& found) {
  throw Error(kind, "weight " + quoted(name) + ": " + what + " must be " + expected + ", got " + found)
      .in_tensor(name)
      .in_field(what)
      .mismatch(expected, found);
}

std::string megabytes(uint64_t bytes) { return std::to_string((bytes + 999'999) / 1'000'000) + " MB"; }

int64_t stored_bytes(const std::string& name, DType dtype, Layout layout, int64_t rows, int64_t cols) {
  if (rows < 1 || cols < 1 || rows > kMaxDimension || cols > kMaxDimension)
    fail(ErrorKind::kInvalidValue, name, "shape", "of sizes from 1 to 2^40", shape_text({rows, cols}));
  bool panels = layout == Layout::kPanels;
  int64_t lines = panels ? panel_count(rows) : rows;
  int64_t line_bytes = panels ? panel_bytes(dtype, cols) : cols * size_of(dtype);
  int64_t bytes;
  if (__builtin_mul_overflow(lines, line_bytes, &bytes))
    fail(ErrorKind::kInvalidValue, name, "size", "less than 2^63 bytes",
         shape_text({rows, cols}) + " of " + name_of(dtype));
  return bytes;
}

// Numbers of a matrix in panels as rows, one panel at a time; `row` has room for cols of f32.
void widen_panel_row(const StoredTensor& tensor, int64_t row, float* out) {
  for (int64_t col = 0; col < tensor.cols; ++col) {
    int64_t index = panel_index(tensor.dtype, tensor.cols, row, col);
    widen(tensor.dtype, tensor.data + index * size_of(tensor.dtype), out + col, 1);
  }
}

}  // namespace

const StoredTensor& WeightStore::declare(const std::string& name, DType dtype, Layout layout, int64_t rows,
                                         int64_t cols) {
  if (find(name)) fail(ErrorKind::kInvalidValue, name, "name", "declared once", "a second declaration");
  if (dtype == DType::kI32) fail(ErrorKind::kDType, name, "dtype", "f32, f16 or bf16", name_of(dtype));
  auto bytes = static_cast<uint64_t>(stored_bytes(name, dtype, layout, rows, cols));
  uint64_t pending = bytes_not_loaded_, available = platform::available_memory();
  if (bytes > available || pending > available - bytes)
    throw Error(ErrorKind::kOutOfMemory,
                "weight " + quoted(name) + " needs " + megabytes(bytes) + " beside " + megabytes(pending) +
                    " of weights not yet loaded, but " + megabytes(available) + " of memory are available")
        .in_tensor(name)
        .mismatch(std::to_string(bytes + pending), std::to_string(available));

  auto tensor = std::make_unique<StoredTensor>();
  tensor->name = name;
  tensor->dtype = dtype;
  tensor->layout = layout;
  tensor->rows = rows;
  tensor->cols = cols;
  tensor->row_loaded.assign(static_cast<size_t>(rows), false);
  tensor->data = static_cast<std::byte*>(platform::reserve_pages(bytes));
  tensor->bytes = bytes;
  tensors_.push_back(std::move(tensor));
  places_.emplace(tensors_.back()->name, tensors_.size() - 1);
  bytes_ += bytes;
  bytes_not_loaded_ += bytes_of_rows(*tensors_.back(), rows);
  return *tensors_.back();
}

// What rows of a tensor take up, without padding: about what loading them adds to the memory in use.
uint64_t WeightStore::bytes_of_rows(const StoredTensor& tensor, int64_t rows) {
  return static_cast<uint64_t>(rows * tensor.cols * size_of(tensor.dtype));
}

bool WeightStore::load(const std::string& name, const LoadPart& part, const ParallelFor& parallel,
                       const std::atomic<int32_t>* abort) {
  StoredTensor& tensor = require(name);
  int64_t rows_before = tensor.rows_loaded;
  bool loaded = load_part(tensor, part, parallel, abort);
  bytes_not_loaded_ -= bytes_of_rows(tensor, tensor.rows_loaded - rows_before);
  return loaded;
}

void WeightStore::load_values(const std::string& name, const float* values, int64_t count) {
  StoredTensor& tensor = require(name);
  if (count != tensor.rows * tensor.cols)
    fail(ErrorKind::kInvalidValue, name, "values", std::to_string(tensor.rows * tensor.cols) + " numbers",
         std::to_string(count));
  if (tensor.rows_loaded > 0) fail(ErrorKind::kInvalidValue, name, "rows", "loaded once", "a second load");
  PackBlock pack = pack_block(DType::kF32, tensor.dtype, tensor.layout, false);
  int64_t element = size_of(tensor.dtype);
  bool overflow = false;
  for (int64_t row = 0; row < tensor.rows; row += kPanelRows) {
    int64_t start =
        tensor.layout == Layout::kPanels ? panel_index(tensor.dtype, tensor.cols, row, 0) : row * tensor.cols;
    Block block{};
    block.source = reinterpret_cast<const std::byte*>(values + row * tensor.cols);
    block.source_stride = tensor.cols * 4;
    block.target = tensor.data + start * element;
    block.target_cols = tensor.cols;
    block.rows = std::min(kPanelRows, tensor.rows - row);
    block.cols = tensor.cols;
    overflow |= pack(block);
  }
  if (overflow)
    fail(ErrorKind::kUnsupported, name, "values", std::string("within the range of ") + name_of(tensor.dtype),
         "a larger one");
  tensor.row_loaded.assign(static_cast<size_t>(tensor.rows), true);
  tensor.rows_loaded = tensor.rows;
  bytes_not_loaded_ -= bytes_of_rows(tensor, tensor.rows);
}

void WeightStore::copy_out(const std::string& name, float* destination) const {
  const StoredTensor& tensor = get(name);
  if (tensor.layout == Layout::kRows) {
    widen(tensor.dtype, tensor.data, destination, tensor.rows * tensor.cols);
    return;
  }
  for (int64_t row = 0; row < tensor.rows; ++row)
    widen_panel_row(tensor, row, destination + row * tensor.cols);
}

const StoredTensor* WeightStore::find(std::string_view name) const {
  auto place = places_.find(name);
  return place == places_.end() ? nullptr : tensors_[place->second].get();
}

StoredTensor& WeightStore::require(const std::string& name) const {
  auto place = places_.find(name);
  if (place == places_.end())
    fail(ErrorKind::kInvalidValue, name, "name", "one that was declared", "an unknown one");
  return *tensors_[place->second];
}

const StoredTensor& WeightStore::get(const std::string& name) const { return require(name); }

void WeightStore::check_complete() const {
  for (const auto& tensor : tensors_)
    if (tensor->rows_loaded < tensor->rows)
      fail(ErrorKind::kFileFormat, tensor->name, "rows",
           "loaded, all " + std::to_string(tensor->rows) + " of them", std::to_string(tensor->rows_loaded));
}

}  // namespace kvasir
