#include "checkpoint/load.h"

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <exception>
#include <mutex>
#include <optional>

#include "checkpoint/gguf-types.h"
#include "checkpoint/place.h"
#include "checkpoint/problem.h"

// Work is divided into pieces (Pieces): rectangles of the part that are read with one pread, or one for each of
// the file's rows where a rectangle is narrower than the file's matrix, into a buffer that stays in L2, and
// packed from there. Where the host's memory and the file agree, the bytes go straight to the target. For a
// device a thread reads the next piece while what it packed last is copied; a load ends when all is.

namespace kvasir {
namespace {

// The file's tensor as a matrix: leading dimensions merged; a vector as one column, or one row where W has
// one row. Blocks are converted when they are read: to blocks of the stored type where they hold the same numbers,
// else to f32.
struct FileMatrix {
  DType dtype;  // once read
  int64_t rows, cols;
  const GgufType* blocks;  // null for plain numbers

  // Of `count` numbers in a row, as the file has them.
  int64_t bytes_of(int64_t count) const {
    return blocks != nullptr ? count / blocks->numbers * blocks->bytes : count * size_of(dtype);
  }
};

class Load {
 public:
  Load(StoredTensor& target, StagingPool* staging, const LoadPart& part, const std::atomic<int32_t>* abort);

  bool run(const ParallelFor& parallel);

 private:
  using Buffer = std::unique_ptr<std::byte[]>;

  void check_part();
  FileMatrix file_matrix() const;
  void check_shape() const;
  void check_not_loaded() const;
  void work(int64_t begin, int64_t end) noexcept;
  void load_piece(int64_t piece, std::byte* buffer);
  void read_rectangle(int64_t row, int64_t rows, int64_t col, int64_t cols, std::byte* out, int64_t stride);
  bool convert_blocks(const std::byte* blocks, int64_t cols, std::byte* out) const;
  int64_t file_row(int64_t row) const;
  int64_t rows_together(int64_t row) const;
  void mark_loaded();
  void note(std::exception_ptr error);
  bool stopped() const {
    return failed_.load(std::memory_order_relaxed) ||
           (abort_ && abort_->load(std::memory_order_relaxed) != 0);
  }
  [[noreturn]] void fail_part(const std::string& what, const std::string& expected,
                              const std::string& found) const {
    throw Error(ErrorKind::kInvalidValue,
                "weight " + quoted(target_.name) + ": " + what + " must be " + expected + ", got " + found)
        .in_tensor(target_.name)
        .in_field(what)
        .mismatch(expected, found);
  }
  [[noreturn]] void fail_file(ErrorKind kind, const std::string& field, const std::string& expected,
                              const std::string& found) const {
    throw_problem(kind, {part_.file->path(), part_.source->name, field, expected, found});
  }

  StoredTensor& target_;
  StagingPool* const staging_;
  LoadPart part_;  // with rows and source_rows filled in
  const std::atomic<int32_t>* const abort_;
  FileMatrix matrix_;
  std::optional<Placement> placement_;
  std::optional<Pieces> pieces_;
  bool direct_;

  std::atomic<int64_t> pieces_done_{0};
  std::atomic<bool> failed_{false}, overflow_{false}, not_finite_{false};
  std::mutex mutex_;  // for the two below
  std::exception_ptr error_;
  std::vector<Buffer> free_buffers_;
};

Load::Load(StoredTensor& target, StagingPool* staging, const LoadPart& part,
           const std::atomic<int32_t>* abort)
    : target_(target), staging_(staging), part_(part), abort_(abort) {
  check_part();
  matrix_ = file_matrix();
  check_shape();
  part_.transposed = part_.transposed && part_.source->shape.size() > 1;
  placement_.emplace(
      target_, staging_,
      PartLayout{matrix_.dtype, part_.transposed, part_.panel_step, part_.first_panel, part_.addend});
  check_not_loaded();
  pieces_.emplace(*placement_, part_.row_offset, part_.rows);
  direct_ = !staging_ && !part_.transposed && target_.layout == Layout::kRows && matrix_.blocks == nullptr &&
            target_.dtype == matrix_.dtype && part_.panel_step == 1 && part_.addend == 0;
}

void Load::check_part() {
  auto text = [](int64_t number) { return std::to_string(number); };
  if (!part_.file || !part_.source) fail_part("part", "given a file and a tensor", "none");
  if (part_.panel_step < 1 || part_.panel_step > target_.rows)
    fail_part("panel_step", "from 1 to " + text(target_.rows), text(part_.panel_step));
  if (part_.first_panel < 0 || part_.first_panel >= part_.panel_step)
    fail_part("first_panel", "from 0 to " + text(part_.panel_step - 1), text(part_.first_panel));
  int64_t matrix_rows = target_.rows / part_.panel_step, group = interleave_rows(target_.layout);
  if (part_.panel_step > 1 &&
      (target_.rows % (part_.panel_step * group) != 0 || part_.row_offset % group != 0))
    fail_part("rows and row_offset", "multiples of " + text(group) + " a matrix where panel_step is above 1",
              text(target_.rows) + " and " + text(part_.row_offset));
  if (part_.row_offset < 0 || part_.row_offset >= matrix_rows)
    fail_part("row_offset", "from 0 to " + text(matrix_rows - 1), text(part_.row_offset));
  if (part_.rows == -1) part_.rows = matrix_rows - part_.row_offset;
  if (part_.rows < 1 || part_.rows > matrix_rows - part_.row_offset)
    fail_part("rows", "from 1 to " + text(matrix_rows - part_.row_offset), text(part_.rows));
  if (part_.source_row_offset < 0 || part_.source_row_offset > INT64_MAX - part_.rows)
    fail_part("source_row_offset", "0 or more", text(part_.source_row_offset));
  if (part_.run_rows < 0 || (part_.run_rows > 0 && (part_.run_stride < part_.run_rows || part_.transposed ||
                                                    part_.run_stride > INT64_MAX / part_.rows)))
    fail_part("run_stride", text(part_.run_rows) + " or more, of a matrix that is not transposed",
              text(part_.run_stride));
  const int64_t last = part_.rows - 1;
  int64_t end = part_.run_rows == 0 ? last : last / part_.run_rows * part_.run_stride + last % part_.run_rows;
  if (__builtin_add_overflow(end, part_.source_row_offset + 1, &end))
    fail_part("run_stride", "such that rows can be counted", text(part_.run_stride));
  if (part_.source_rows == -1) part_.source_rows = end;
  if (part_.source_rows < end) fail_part("source_rows", text(end) + " or more", text(part_.source_rows));
  const int64_t room = matrix_rows - part_.row_offset;
  if (part_.filled_rows != 0 &&
      (part_.filled_rows < part_.rows || part_.filled_rows > room || part_.panel_step > 1))
    fail_part("filled_rows", "0, or from " + text(part_.rows) + " to " + text(room) + " of a matrix alone",
              text(part_.filled_rows));
  if (part_.addend != 0 && (target_.dtype != DType::kF32 || target_.layout != Layout::kRows))
    fail_part("addend", "0 but for f32 in rows", std::to_string(part_.addend));
  const int64_t paired = part_.paired_rows;
  if (paired != 0 && (paired < 0 || paired % 2 != 0 || part_.source_rows % paired != 0 || part_.transposed ||
                      part_.run_rows != 0))
    fail_part("paired_rows", "0, or even and a divisor of " + text(part_.source_rows), text(paired));
}

FileMatrix Load::file_matrix() const {
  const TensorEntry& source = *part_.source;
  FileMatrix matrix{};
  if (source.dtype == "F32") {
    matrix.dtype = DType::kF32;
  } else if (source.dtype == "F16") {
    matrix.dtype = DType::kF16;
  } else if (source.dtype == "BF16") {
    matrix.dtype = DType::kBF16;
  } else {
    matrix.blocks = gguf_type(source.dtype);
    if (matrix.blocks == nullptr || matrix.blocks->dequantize == nullptr)
      fail_file(ErrorKind::kUnsupported, "dtype", "F32, F16, BF16 or one of GGUF's that are dequantised",
                source.dtype);
    if (part_.transposed)
      fail_file(ErrorKind::kUnsupported, "dtype", "F32, F16 or BF16 where a matrix is transposed",
                source.dtype);
    const bool kept = matrix.blocks->keep != nullptr && matrix.blocks->kept == target_.dtype;
    matrix.dtype = kept ? target_.dtype : DType::kF32;
  }
  const std::vector<int64_t>& shape = source.shape;
  bool as_row = shape.size() == 1 && target_.rows == 1;
  matrix.rows = shape.empty() || as_row ? 1 : shape[0];
  for (size_t i = 1; i + 1 < shape.size(); ++i)
    if (__builtin_mul_overflow(matrix.rows, shape[i], &matrix.rows))
      fail_file(ErrorKind::kFileFormat, "shape", "fewer than 2^63 rows", "more");
  matrix.cols = shape.size() > 1 ? shape.back() : as_row ? shape[0] : 1;
  return matrix;
}

void Load::check_shape() const {
  const TensorEntry& source = *part_.source;
  bool vector = source.shape.size() < 2;  // its own transpose
  bool transposed = part_.transposed && !vector;
  int64_t rows = transposed ? target_.cols : part_.source_rows;
  int64_t cols = transposed ? part_.source_rows : target_.cols;
  if (matrix_.rows != rows || matrix_.cols != cols)
    fail_file(ErrorKind::kFileFormat, "shape", shape_text({rows, cols}), shape_text(source.shape));
  if (matrix_.blocks != nullptr && cols % matrix_.blocks->numbers != 0)
    fail_file(ErrorKind::kFileFormat, "row", "whole blocks of " + std::to_string(matrix_.blocks->numbers),
              std::to_string(cols));
  int64_t bytes;  // a part need not come from a file that was checked
  bool fits = !__builtin_mul_overflow(rows, cols, &bytes) && bytes <= INT64_MAX / 8 &&
              !__builtin_mul_overflow(rows, matrix_.bytes_of(cols), &bytes) &&
              static_cast<uint64_t>(bytes) == source.bytes && source.bytes <= part_.file->size() &&
              source.offset <= part_.file->size() - source.bytes;
  if (!fits)
    fail_file(ErrorKind::kFileFormat, "data", "inside the file and as large as its shape",
              std::to_string(source.bytes) + " bytes at " + std::to_string(source.offset));
}

void Load::check_not_loaded() const {
  for (int64_t row = part_.row_offset; row < part_.row_offset + part_.rows; ++row) {
    int64_t stored = placement_->stored_row(row);
    if (target_.row_loaded[static_cast<size_t>(stored)])
      fail_part("row " + std::to_string(stored), "loaded once", "a second load");
  }
}

bool Load::run(const ParallelFor& parallel) {
  int64_t pieces = pieces_->count();
  try {
    if (pieces == 1) {
      work(0, 1);
    } else {
      parallel(pieces, [this](int64_t begin, int64_t end) { work(begin, end); });
    }
  } catch (...) {
    note(std::current_exception());
  }
  if (staging_)
    if (std::exception_ptr error = staging_->settle()) note(error);
  if (error_) std::rethrow_exception(error_);
  if (pieces_done_ < pieces) return false;  // stopped, here or by `parallel`
  part_.file->check_unchanged();
  if (overflow_)
    fail_file(ErrorKind::kUnsupported, "values", std::string("within the range of ") + name_of(target_.dtype),
              is_blocked(target_.dtype) ? "a larger one, or one that is not finite" : "a larger one");
  if (not_finite_) fail_file(ErrorKind::kFileFormat, "values", "finite", "scales that are not");
  mark_loaded();
  return true;
}

void Load::note(std::exception_ptr error) {
  std::lock_guard lock(mutex_);
  if (!error_) error_ = error;
  failed_ = true;
}

void Load::work(int64_t begin, int64_t end) noexcept {
  Buffer buffer;
  try {
    {
      std::lock_guard lock(mutex_);
      if (!free_buffers_.empty()) buffer = std::move(free_buffers_.back()), free_buffers_.pop_back();
    }
    if (!buffer && !direct_) buffer.reset(new std::byte[static_cast<size_t>(pieces_->most_bytes())]);
    for (int64_t piece = begin; piece < end && !stopped(); ++piece) {
      load_piece(piece, buffer.get());
      pieces_done_.fetch_add(1, std::memory_order_relaxed);
    }
    std::lock_guard lock(mutex_);
    free_buffers_.push_back(std::move(buffer));
  } catch (...) {
    note(std::current_exception());
  }
}

void Load::load_piece(int64_t piece, std::byte* buffer) {
  const auto [row, rows, col, cols] = (*pieces_)[piece];
  const DType dtype = matrix_.dtype;
  int64_t source_row = part_.source_row_offset + row - part_.row_offset;
  if (direct_) {
    const int64_t stride = row_bytes(dtype, target_.cols);
    return read_rectangle(source_row, rows, col, cols, target_.data + row * stride + row_bytes(dtype, col),
                          stride);
  }
  // In the file's order: its rows are W's rows, or W's columns.
  int64_t stride = row_bytes(dtype, part_.transposed ? rows : cols);
  if (part_.transposed) {
    read_rectangle(col, cols, source_row, rows, buffer, stride);
  } else {
    read_rectangle(source_row, rows, col, cols, buffer, stride);
  }
  if (placement_->put({row, rows, col, cols}, buffer, stride))
    overflow_.store(true, std::memory_order_relaxed);
}

// Where the file has a row of W, rows being counted from the file's first as if none lay between.
int64_t Load::file_row(int64_t row) const {
  if (part_.run_rows != 0) {
    const int64_t i = row - part_.source_row_offset;
    return part_.source_row_offset + i / part_.run_rows * part_.run_stride + i % part_.run_rows;
  }
  if (part_.paired_rows == 0) return row;
  const int64_t in_head = row % part_.paired_rows, half = part_.paired_rows / 2;
  return row - in_head + in_head % half * 2 + in_head / half;
}

// How many rows of W from this one on follow each other in the file.
int64_t Load::rows_together(int64_t row) const {
  if (part_.paired_rows != 0) return 1;
  return part_.run_rows == 0 ? INT64_MAX : part_.run_rows - (row - part_.source_row_offset) % part_.run_rows;
}

// Rows and columns of the file's matrix, as numbers of matrix_.dtype.
void Load::read_rectangle(int64_t row, int64_t rows, int64_t col, int64_t cols, std::byte* out,
                          int64_t stride) {
  const int64_t bytes = matrix_.bytes_of(cols), row_bytes = matrix_.bytes_of(matrix_.cols);
  // Blocks are read to the end of the space that what they become takes, and give way to it from its beginning.
  const int64_t pitch = matrix_.blocks != nullptr ? bytes : stride;
  std::byte* to = matrix_.blocks != nullptr ? out + rows * (stride - bytes) : out;
  const uint64_t begin = part_.source->offset + static_cast<uint64_t>(matrix_.bytes_of(col));
  const auto read = [&](int64_t first, std::byte* at, int64_t count) {
    part_.file->read(begin + static_cast<uint64_t>(first * row_bytes), at, static_cast<size_t>(count));
  };
  const bool whole = cols == matrix_.cols && pitch == bytes;
  for (int64_t i = 0, count; i < rows; i += count) {
    count = whole ? std::min(rows - i, rows_together(row + i)) : 1;
    read(file_row(row + i), to + i * pitch, count * bytes);
  }
  if (matrix_.blocks == nullptr) return;
  for (int64_t i = 0; i < rows; ++i)
    if (!convert_blocks(to + i * bytes, cols, out + i * stride))
      not_finite_.store(true, std::memory_order_relaxed);
}

// A row's blocks to what they are read as; returns whether all is finite.
bool Load::convert_blocks(const std::byte* blocks, int64_t cols, std::byte* out) const {
  const GgufType& type = *matrix_.blocks;
  if (matrix_.dtype != DType::kF32) return !type.keep(blocks, cols / type.numbers, out);
  float* numbers = reinterpret_cast<float*>(out);
  type.dequantize(blocks, cols / type.numbers, numbers);
  bool finite = true;
  for (int64_t c = 0; c < cols; ++c) finite &= std::fabs(numbers[c]) <= FLT_MAX;
  return finite;
}

void Load::mark_loaded() {
  auto mark = [&](int64_t row) {
    if (target_.row_loaded[static_cast<size_t>(row)]) return;
    target_.row_loaded[static_cast<size_t>(row)] = true;
    ++target_.rows_loaded;
  };
  int64_t end = part_.row_offset + part_.rows;
  if (part_.panel_step > 1)  // the padding between interleaved matrices
    end = round_up(end, interleave_rows(target_.layout));
  else if (part_.filled_rows > 0)
    end = part_.row_offset + part_.filled_rows;
  for (int64_t row = part_.row_offset; row < end; ++row) mark(placement_->stored_row(row));
}

}  // namespace

bool load_part(StoredTensor& target, StagingPool* staging, const LoadPart& part, const ParallelFor& parallel,
               const std::atomic<int32_t>* abort) {
  return Load(target, staging, part, abort).run(parallel);
}

bool pack_values(StoredTensor& target, StagingPool* staging, const float* values) {
  Placement placement(target, staging, {DType::kF32, false, 1, 0, 0});
  Pieces pieces(placement, 0, target.rows);
  bool overflow = false;
  std::exception_ptr error;
  try {
    for (int64_t i = 0; i < pieces.count(); ++i) {
      Rectangle piece = pieces[i];
      const float* source = values + piece.row * target.cols + piece.col;
      overflow |= placement.put(piece, reinterpret_cast<const std::byte*>(source), target.cols * 4);
    }
  } catch (...) {
    error = std::current_exception();
  }
  if (staging) {
    std::exception_ptr in_flight = staging->settle();
    if (!error) error = in_flight;
  }
  if (error) std::rethrow_exception(error);
  return overflow;
}

}  // namespace kvasir
