#include "checkpoint/store.h"

#include "checkpoint/load.h"
#include "checkpoint/problem.h"
#include "checkpoint/staging-pool.h"
#include "checkpoint/unpack.h"

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

}  // namespace

uint64_t stored_bytes(const WeightShape& shape) {
  const auto& [name, dtype, layout, rows, cols] = shape;
  if (dtype == DType::kI32)
    fail(ErrorKind::kDType, name, "dtype", "f32, f16, bf16, q8 or q4", name_of(dtype));
  if (rows < 1 || cols < 1 || rows > kMaxDimension || cols > kMaxDimension)
    fail(ErrorKind::kInvalidValue, name, "shape", "of sizes from 1 to 2^40", shape_text({rows, cols}));
  int64_t lines = rows, line_bytes = row_bytes(dtype, cols), bytes;
  if (layout == Layout::kPanels) lines = panel_count(rows), line_bytes = panel_bytes(dtype, cols);
  if (layout == Layout::kTiles) lines = row_tiles(rows), line_bytes = tiles_bytes(dtype, 1, cols);
  if (__builtin_mul_overflow(lines, line_bytes, &bytes))
    fail(ErrorKind::kInvalidValue, name, "size", "less than 2^63 bytes",
         shape_text({rows, cols}) + " of " + name_of(dtype));
  return static_cast<uint64_t>(bytes);
}

WeightStore::WeightStore(std::shared_ptr<WeightMemory> memory)
    : memory_(std::move(memory)),
      staging_(memory_->host_addressable() ? nullptr : std::make_unique<StagingPool>(*memory_)) {}

WeightStore::~WeightStore() = default;

const StoredTensor& WeightStore::declare(const std::string& name, DType dtype, Layout layout, int64_t rows,
                                         int64_t cols) {
  if (find(name)) fail(ErrorKind::kInvalidValue, name, "name", "declared once", "a second declaration");
  if (staging_ && layout == Layout::kPanels)
    fail(ErrorKind::kInvalidValue, name, "layout", "rows or tiles in " + memory_->name(), "panels");
  uint64_t bytes = stored_bytes({name, dtype, layout, rows, cols});
  check_room("weight " + quoted(name), name, bytes);

  auto tensor = std::make_unique<StoredTensor>();
  tensor->name = name;
  tensor->dtype = dtype;
  tensor->layout = layout;
  tensor->rows = rows;
  tensor->cols = cols;
  tensor->row_loaded.assign(static_cast<size_t>(rows), false);
  tensor->memory = memory_;
  tensor->data = memory_->allocate(bytes);
  tensor->bytes = bytes;
  tensors_.push_back(std::move(tensor));
  places_.emplace(tensors_.back()->name, tensors_.size() - 1);
  bytes_ += bytes;
  bytes_not_loaded_ += bytes_of_rows(*tensors_.back(), rows);
  return *tensors_.back();
}

uint64_t WeightStore::check_room(const std::vector<WeightShape>& shapes) const {
  uint64_t bytes = 0;
  for (const WeightShape& shape : shapes)
    if (__builtin_add_overflow(bytes, stored_bytes(shape), &bytes)) bytes = UINT64_MAX;
  check_room(std::to_string(shapes.size()) + " weights", "", bytes);
  return bytes;
}

void WeightStore::check_room(const std::string& what, const std::string& name, uint64_t bytes) const {
  uint64_t pending = memory_->host_addressable() ? bytes_not_loaded_ : 0, available = memory_->available();
  if (bytes <= available && pending <= available - bytes) return;
  std::string beside = pending > 0 ? " beside " + megabytes(pending) + " of weights not yet loaded" : "";
  throw Error(ErrorKind::kOutOfMemory, what + ": need " + megabytes(bytes) + beside + ", but " +
                                           megabytes(available) + " of " + memory_->name() + " are available")
      .in_tensor(name)
      .mismatch(std::to_string(bytes + pending), std::to_string(available));
}

// What rows of a tensor take up, without padding: about what loading them adds to the memory in use.
uint64_t WeightStore::bytes_of_rows(const StoredTensor& tensor, int64_t rows) {
  return static_cast<uint64_t>(rows * row_bytes(tensor.dtype, tensor.cols));
}

bool WeightStore::load(const std::string& name, const LoadPart& part, const ParallelFor& parallel,
                       const std::atomic<int32_t>* abort) {
  StoredTensor& tensor = require(name);
  int64_t rows_before = tensor.rows_loaded;
  bool loaded = load_part(tensor, staging_.get(), part, parallel, abort);
  bytes_not_loaded_ -= bytes_of_rows(tensor, tensor.rows_loaded - rows_before);
  return loaded;
}

void WeightStore::load_values(const std::string& name, const float* values, int64_t count) {
  StoredTensor& tensor = require(name);
  if (count != tensor.rows * tensor.cols)
    fail(ErrorKind::kInvalidValue, name, "values", std::to_string(tensor.rows * tensor.cols) + " numbers",
         std::to_string(count));
  if (tensor.rows_loaded > 0) fail(ErrorKind::kInvalidValue, name, "rows", "loaded once", "a second load");
  if (pack_values(tensor, staging_.get(), values))
    fail(ErrorKind::kUnsupported, name, "values", std::string("within the range of ") + name_of(tensor.dtype),
         is_blocked(tensor.dtype) ? "a larger one, or one that is not finite" : "a larger one");
  tensor.row_loaded.assign(static_cast<size_t>(tensor.rows), true);
  tensor.rows_loaded = tensor.rows;
  bytes_not_loaded_ -= bytes_of_rows(tensor, tensor.rows);
}

void WeightStore::copy_out(const std::string& name, float* destination) const {
  unpack(get(name), staging_.get(), destination);
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
  if (staging_) staging_->clear();
  for (const auto& tensor : tensors_)
    if (tensor->rows_loaded < tensor->rows)
      fail(ErrorKind::kFileFormat, tensor->name, "rows",
           "loaded, all " + std::to_string(tensor->rows) + " of them", std::to_string(tensor->rows_loaded));
}

}  // namespace kvasir
