#include "checkpoint/load.h"

#include <algorithm>
#include <exception>
#include <mutex>

#include "checkpoint/pack.h"
#include "checkpoint/problem.h"

// Work is divided into pieces: rectangles of the part that are read with one pread, or one for each of the
// file's rows where a rectangle is narrower than the file's matrix, into a buffer that stays in L2, and
// packed from there panel by panel. A piece begins and ends between panels, so that threads never share a
// cache line of the target. Where memory and file agree, the bytes go straight to the target.

namespace kvasir {
namespace {

constexpr int64_t kPieceBytes = int64_t{256} << 10;  // aimed at: many for two threads, few calls, and in L2
constexpr int64_t kStagingBytes = int64_t{2} << 20;  // at most, where rows are very long

int64_t round_up(int64_t value, int64_t step) { return (value + step - 1) / step * step; }
int64_t round_down(int64_t value, int64_t step) { return value / step * step; }

// The file's tensor as a matrix: leading dimensions merged; a vector as one column, or one row where W has
// one row.
struct FileMatrix {
  DType dtype;
  int64_t rows, cols;
};

class Load {
 public:
  Load(StoredTensor& target, const LoadPart& part, const std::atomic<int32_t>* abort)
      : target_(target), part_(part), abort_(abort) {
    check_part();
    matrix_ = file_matrix();
    check_shape();
    plan();
  }

  bool run(const ParallelFor& parallel);

 private:
  using Buffer = std::unique_ptr<std::byte[]>;

  void check_part();
  FileMatrix file_matrix() const;
  void check_shape() const;
  void plan();
  void work(int64_t begin, int64_t end);
  void load_piece(int64_t piece, std::byte* staging);
  void read_rectangle(int64_t row, int64_t rows, int64_t col, int64_t cols, std::byte* out,
                      int64_t stride) const;
  void mark_loaded();
  bool stopped() const {
    return failed_.load(std::memory_order_relaxed) ||
           (abort_ && abort_->load(std::memory_order_relaxed) != 0);
  }
  int64_t stored_row(int64_t j) const {
    return (j / kPanelRows * part_.panel_step + part_.first_panel) * kPanelRows + j % kPanelRows;
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
  LoadPart part_;  // with rows and source_rows filled in
  const std::atomic<int32_t>* const abort_;
  FileMatrix matrix_;

  // Pieces: blocks of rows j, aligned to multiples of row_block_, by blocks of columns.
  bool direct_;
  int64_t row_block_, row_blocks_, first_row_block_, col_block_, col_blocks_;
  int64_t staging_bytes_;
  PackBlock pack_;

  std::atomic<int64_t> pieces_done_{0};
  std::atomic<bool> failed_{false}, overflow_{false};
  std::mutex mutex_;  // for the two below
  std::exception_ptr error_;
  std::vector<Buffer> free_buffers_;
};

void Load::check_part() {
  auto text = [](int64_t number) { return std::to_string(number); };
  if (!part_.file || !part_.source) fail_part("part", "given a file and a tensor", "none");
  if (part_.panel_step < 1 || part_.panel_step > target_.rows)
    fail_part("panel_step", "from 1 to " + text(target_.rows), text(part_.panel_step));
  if (part_.first_panel < 0 || part_.first_panel >= part_.panel_step)
    fail_part("first_panel", "from 0 to " + text(part_.panel_step - 1), text(part_.first_panel));
  int64_t matrix_rows = target_.rows / part_.panel_step;
  if (part_.panel_step > 1 &&
      (target_.rows % (part_.panel_step * kPanelRows) != 0 || part_.row_offset % kPanelRows != 0))
    fail_part("rows and row_offset", "whole panels where panel_step is above 1",
              text(target_.rows) + " and " + text(part_.row_offset));
  if (part_.row_offset < 0 || part_.row_offset >= matrix_rows)
    fail_part("row_offset", "from 0 to " + text(matrix_rows - 1), text(part_.row_offset));
  if (part_.rows == -1) part_.rows = matrix_rows - part_.row_offset;
  if (part_.rows < 1 || part_.rows > matrix_rows - part_.row_offset)
    fail_part("rows", "from 1 to " + text(matrix_rows - part_.row_offset), text(part_.rows));
  if (part_.source_row_offset < 0 || part_.source_row_offset > INT64_MAX - part_.rows)
    fail_part("source_row_offset", "0 or more", text(part_.source_row_offset));
  if (part_.source_rows == -1) part_.source_rows = part_.source_row_offset + part_.rows;
  if (part_.source_rows < part_.source_row_offset + part_.rows)
    fail_part("source_rows", text(part_.source_row_offset + part_.rows) + " or more",
              text(part_.source_rows));
  for (int64_t i = 0; i < part_.rows; ++i)
    if (target_.row_loaded[static_cast<size_t>(stored_row(part_.row_offset + i))])
      fail_part("row " + text(stored_row(part_.row_offset + i)), "loaded once", "a second load");
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
    fail_file(ErrorKind::kUnsupported, "dtype", "F32, F16 or BF16", source.dtype);
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
  int64_t bytes;  // a part need not come from open_safetensors
  bool fits = !__builtin_mul_overflow(rows, cols, &bytes) &&
              !__builtin_mul_overflow(bytes, size_of(matrix_.dtype), &bytes) &&
              static_cast<uint64_t>(bytes) == source.bytes && source.bytes <= part_.file->size() &&
              source.offset <= part_.file->size() - source.bytes;
  if (!fits)
    fail_file(ErrorKind::kFileFormat, "data", "inside the file and as large as its shape",
              std::to_string(source.bytes) + " bytes at " + std::to_string(source.offset));
}

void Load::plan() {
  part_.transposed = part_.transposed && part_.source->shape.size() > 1;
  int64_t element = size_of(matrix_.dtype);
  int64_t rows = part_.rows, cols = target_.cols;
  if (part_.transposed) {
    int64_t widest = round_down(kStagingBytes / (2 * element), kPanelRows);
    row_block_ = std::min(widest, round_up(part_.row_offset + rows, kPanelRows));
    int64_t deep = kPieceBytes / (std::min(rows, row_block_) * element);
    col_block_ = std::clamp<int64_t>(round_down(deep, 2), 2, round_up(cols, 2));
  } else {
    int64_t widest = round_down(kStagingBytes / (kPanelRows * element), 64);
    col_block_ = std::min(widest, cols);
    row_block_ = kPanelRows * std::max<int64_t>(1, kPieceBytes / (kPanelRows * col_block_ * element));
  }
  first_row_block_ = part_.row_offset / row_block_;
  row_blocks_ = (part_.row_offset + rows + row_block_ - 1) / row_block_ - first_row_block_;
  col_blocks_ = (cols + col_block_ - 1) / col_block_;
  direct_ = !part_.transposed && target_.layout == Layout::kRows && target_.dtype == matrix_.dtype &&
            part_.panel_step == 1;
  staging_bytes_ = direct_ ? 0 : std::min(rows, row_block_) * std::min(cols, col_block_) * element;
  pack_ = pack_block(matrix_.dtype, target_.dtype, target_.layout, part_.transposed);
}

bool Load::run(const ParallelFor& parallel) {
  int64_t pieces = row_blocks_ * col_blocks_;
  auto body = [this](int64_t begin, int64_t end) { work(begin, end); };
  if (pieces == 1) {
    body(0, 1);
  } else {
    parallel(pieces, body);
  }
  if (error_) std::rethrow_exception(error_);
  if (pieces_done_ < pieces) return false;  // stopped, here or by `parallel`
  part_.file->check_unchanged();
  if (overflow_)
    fail_file(ErrorKind::kUnsupported, "values", std::string("within the range of ") + name_of(target_.dtype),
              "a larger one");
  mark_loaded();
  return true;
}

void Load::work(int64_t begin, int64_t end) {
  Buffer staging;
  try {
    {
      std::lock_guard lock(mutex_);
      if (!free_buffers_.empty()) staging = std::move(free_buffers_.back()), free_buffers_.pop_back();
    }
    if (!staging && staging_bytes_ > 0) staging.reset(new std::byte[static_cast<size_t>(staging_bytes_)]);
    for (int64_t piece = begin; piece < end && !stopped(); ++piece) {
      load_piece(piece, staging.get());
      pieces_done_.fetch_add(1, std::memory_order_relaxed);
    }
    std::lock_guard lock(mutex_);
    free_buffers_.push_back(std::move(staging));
  } catch (...) {
    std::lock_guard lock(mutex_);
    if (!error_) error_ = std::current_exception();
    failed_ = true;
  }
}

void Load::load_piece(int64_t piece, std::byte* staging) {
  // In the file's order: its rows are W's rows, or W's columns.
  int64_t row_block = part_.transposed ? piece % row_blocks_ : piece / col_blocks_;
  int64_t col_block = part_.transposed ? piece / row_blocks_ : piece % col_blocks_;
  int64_t begin = std::max(part_.row_offset, (first_row_block_ + row_block) * row_block_);
  int64_t end = std::min(part_.row_offset + part_.rows, (first_row_block_ + row_block + 1) * row_block_);
  int64_t col = col_block * col_block_, cols = std::min(col_block_, target_.cols - col);
  int64_t source_row = part_.source_row_offset + begin - part_.row_offset, rows = end - begin;
  int64_t from = size_of(matrix_.dtype), to = size_of(target_.dtype);
  if (direct_) {
    std::byte* out = target_.data + (begin * target_.cols + col) * to;
    return read_rectangle(source_row, rows, col, cols, out, target_.cols * to);
  }
  int64_t stride = (part_.transposed ? rows : cols) * from;
  if (part_.transposed) {
    read_rectangle(col, cols, source_row, rows, staging, stride);
  } else {
    read_rectangle(source_row, rows, col, cols, staging, stride);
  }

  bool overflow = false;
  for (int64_t j = begin; j < end;) {
    int64_t next = std::min(end, round_down(j, kPanelRows) + kPanelRows), row = stored_row(j);
    Block block{};
    block.source = staging + (j - begin) * (part_.transposed ? from : stride);
    block.source_stride = stride;
    block.lane = row % kPanelRows;
    block.target = target_.data + to * (target_.layout == Layout::kPanels
                                            ? panel_index(target_.dtype, target_.cols, row - block.lane, 0)
                                            : row * target_.cols);
    block.target_cols = target_.cols;
    block.rows = next - j;
    block.col = col;
    block.cols = cols;
    overflow |= pack_(block);
    j = next;
  }
  if (overflow) overflow_.store(true, std::memory_order_relaxed);
}

// Rows and columns of the file's matrix.
void Load::read_rectangle(int64_t row, int64_t rows, int64_t col, int64_t cols, std::byte* out,
                          int64_t stride) const {
  int64_t element = size_of(matrix_.dtype);
  auto read = [&](int64_t first, std::byte* to, int64_t count) {
    part_.file->read(part_.source->offset + static_cast<uint64_t>((first * matrix_.cols + col) * element), to,
                     static_cast<size_t>(count * element));
  };
  if (cols == matrix_.cols && stride == cols * element) return read(row, out, rows * cols);
  for (int64_t i = 0; i < rows; ++i) read(row + i, out + i * stride, cols);
}

void Load::mark_loaded() {
  auto mark = [&](int64_t row) {
    if (target_.row_loaded[static_cast<size_t>(row)]) return;
    target_.row_loaded[static_cast<size_t>(row)] = true;
    ++target_.rows_loaded;
  };
  int64_t end = part_.row_offset + part_.rows;
  if (part_.panel_step > 1) end = round_up(end, kPanelRows);  // the padding between interleaved matrices
  for (int64_t j = part_.row_offset; j < end; ++j) mark(stored_row(j));
}

}  // namespace

bool load_part(StoredTensor& target, const LoadPart& part, const ParallelFor& parallel,
               const std::atomic<int32_t>* abort) {
  return Load(target, part, abort).run(parallel);
}

}  // namespace kvasir
