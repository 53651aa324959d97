#include "checkpoint/place.h"

#include <algorithm>

// A piece begins and ends between panels or tiles, so that threads never share a cache line of the target.
// Staged, a piece holds its rows' tiles without gaps: for each band of rows that lie in the same tiles, and each
// tile of the band side by side, the band's lines of 128 bytes. What that is in the device's memory differs by
// case: one range where whole rows of whole tiles are loaded, ranges of 1 KiB at one distance where every second
// group of 8 rows belongs to another matrix, and ranges at the distance of tiles in the remaining rows. All are
// found by joining lines that come one after another.

namespace kvasir {
namespace {

constexpr int64_t kMaxFileBlock = 256;               // numbers, of a file's row, which pieces do not cut
constexpr int64_t kPieceBytes = int64_t{256} << 10;  // aimed at: many for two threads, few calls, and in L2

// Joins copies of ranges of a buffer, one after the other, into few of several ranges each.
class Copies {
 public:
  explicit Copies(Staging& staging) : staging_(staging), from_(staging.data()) {}

  void add(std::byte* to, int64_t bytes) {
    const int64_t distance = to - to_;
    if (height_ == 1 && distance == width_) {
      width_ += bytes;
    } else if (height_ == 1 && bytes == width_ && distance > width_ && distance <= Staging::kMaxPitch) {
      pitch_ = distance;
      height_ = 2;
    } else if (height_ > 1 && bytes == width_ && distance == height_ * pitch_) {
      ++height_;
    } else {
      flush();
      to_ = to;
      width_ = pitch_ = bytes;
      height_ = 1;
    }
  }

  void flush() {
    if (height_ == 0) return;
    staging_.write(to_, static_cast<size_t>(height_ == 1 ? width_ : pitch_), from_,
                   static_cast<size_t>(width_), static_cast<size_t>(height_));
    from_ += width_ * height_;
    height_ = 0;
  }

 private:
  Staging& staging_;
  const std::byte* from_;
  std::byte* to_ = nullptr;
  int64_t width_ = 0, pitch_ = 0, height_ = 0;
};

int64_t next_multiple(int64_t value, int64_t step, int64_t end) {
  return std::min(round_down(value, step) + step, end);
}

int64_t rows_together(Layout layout, int64_t step) {
  if (layout != Layout::kTiles) return kPanelRows;
  return step > 1 ? kTileInterleaveRows : kTileRows;
}

}  // namespace

Placement::Placement(const StoredTensor& target, StagingPool* staging, const PartLayout& part)
    : target_(target),
      staging_(staging),
      part_(part),
      group_(interleave_rows(target.layout)),
      unit_(rows_together(target.layout, part.step)),
      pack_(pack_block(part.from, target.dtype, target.layout, part.transposed)) {}

int64_t Placement::col_step() const {
  // Pairs for bf16 panels of a transposed file, whose rows are W's columns; else whole lines of tiles, and blocks.
  const int64_t block = target_.layout == Layout::kTiles ? kTileBlockColumns : kBlockColumns;
  if (is_blocked(target_.dtype)) return part_.transposed ? block : kMaxFileBlock;
  return part_.transposed && !staging_ && target_.layout != Layout::kTiles ? 2 : 64;
}

int64_t Placement::row_bytes(int64_t cols) const {
  const int64_t read = kvasir::row_bytes(part_.from, cols);
  if (!staging_) return read;
  if (target_.layout != Layout::kTiles) return std::max(read, kvasir::row_bytes(target_.dtype, cols));
  return std::max(read, col_tiles(target_.dtype, cols) * tile_line_bytes(target_.dtype));
}

bool Placement::put(const Rectangle& rectangle, const std::byte* source, int64_t source_stride) const {
  if (!staging_) return put_in_place(rectangle, source, source_stride);
  if (target_.layout == Layout::kTiles) return put_tiles(rectangle, source, source_stride);
  return put_rows(rectangle, source, source_stride);
}

// The rows from `row` to the end of its unit.
Block Placement::block(const Rectangle& rectangle, int64_t row, const std::byte* source,
                       int64_t stride) const {
  Block block{};
  block.source = source + (row - rectangle.row) * (part_.transposed ? size_of(part_.from) : stride);
  block.source_stride = stride;
  block.rows = next_multiple(row, unit_, rectangle.row + rectangle.rows) - row;
  block.lane = stored_row(row) % unit_;
  block.col = rectangle.col;
  block.cols = rectangle.cols;
  return block;
}

// Where a stored row's numbers begin, in tiles and panels those of the tile or panel that has them.
std::byte* Placement::address(int64_t stored_row, int64_t col) const {
  const DType dtype = target_.dtype;
  const int64_t cols = target_.cols;
  if (target_.layout == Layout::kPanels)
    return target_.data + stored_row / kPanelRows * panel_bytes(dtype, cols);
  if (target_.layout == Layout::kRows)
    return target_.data + stored_row * kvasir::row_bytes(dtype, cols) + kvasir::row_bytes(dtype, col);
  const int64_t tile = stored_row / kTileRows * col_tiles(dtype, cols) + col / tile_cols(dtype);
  return target_.data + tile * tile_bytes(dtype) + stored_row % kTileRows * tile_line_bytes(dtype);
}

int64_t Placement::target_stride() const {
  if (target_.layout == Layout::kPanels) return 0;
  return target_.layout == Layout::kTiles ? tile_bytes(target_.dtype)
                                          : kvasir::row_bytes(target_.dtype, target_.cols);
}

bool Placement::pack(const Block& block) const {
  const bool overflow = pack_(block);
  if (part_.addend == 0) return overflow;
  for (int64_t row = 0; row < block.rows; ++row) {
    float* numbers = reinterpret_cast<float*>(block.target + row * block.target_stride);
    for (int64_t col = 0; col < block.cols; ++col) numbers[col] += part_.addend;
  }
  return overflow;
}

bool Placement::put_in_place(const Rectangle& rectangle, const std::byte* source, int64_t stride) const {
  bool overflow = false;
  const int64_t end = rectangle.row + rectangle.rows;
  for (int64_t row = rectangle.row; row < end; row = next_multiple(row, unit_, end)) {
    Block b = block(rectangle, row, source, stride);
    b.target = address(stored_row(row), rectangle.col);
    b.target_stride = target_stride();
    overflow |= pack(b);
  }
  return overflow;
}

bool Placement::put_rows(const Rectangle& rectangle, const std::byte* source, int64_t stride) const {
  StagingPool::Lease buffer(*staging_);
  Copies copies(*buffer);
  const int64_t end = rectangle.row + rectangle.rows, line = kvasir::row_bytes(target_.dtype, rectangle.cols);
  bool overflow = false;
  for (int64_t row = rectangle.row; row < end; row = next_multiple(row, unit_, end)) {
    Block b = block(rectangle, row, source, stride);
    b.target = buffer->data() + (row - rectangle.row) * line;
    b.target_stride = line;
    overflow |= pack(b);
  }
  for (int64_t row = rectangle.row; row < end; ++row)
    copies.add(address(stored_row(row), rectangle.col), line);
  copies.flush();
  return overflow;
}

bool Placement::put_tiles(const Rectangle& rectangle, const std::byte* source, int64_t stride) const {
  StagingPool::Lease buffer(*staging_);
  Copies copies(*buffer);
  const int64_t end = rectangle.row + rectangle.rows, tiles = col_tiles(target_.dtype, rectangle.cols);
  const int64_t line = tile_line_bytes(target_.dtype);
  // Rows of this part in one tile; a single group where tiles hold no whole number of turns.
  const int64_t turn = group_ * part_.step;
  const int64_t band = part_.step == 1 ? kTileRows : kTileRows % turn == 0 ? kTileRows / part_.step : group_;
  bool overflow = false;
  std::byte* at = buffer->data();
  for (int64_t row = rectangle.row, next; row < end; row = next) {
    next = next_multiple(row, band, end);
    const int64_t tile_stride = (next - row) * line;
    for (int64_t r = row; r < next; r = next_multiple(r, unit_, next)) {
      Block b = block(rectangle, r, source, stride);
      b.target = at + (r - row) * line;
      b.target_stride = tile_stride;
      overflow |= pack_(b);
    }
    for (int64_t tile = 0; tile < tiles; ++tile)
      for (int64_t r = row, after; r < next; r = after) {
        after = next_multiple(r, unit_, next);
        copies.add(address(stored_row(r), rectangle.col + tile * tile_cols(target_.dtype)),
                   (after - r) * line);
      }
    at += tiles * tile_stride;
  }
  copies.flush();
  return overflow;
}

Pieces::Pieces(const Placement& placement, int64_t row_offset, int64_t rows)
    : from_(placement.part().from),
      transposed_(placement.part().transposed),
      begin_(row_offset),
      end_(row_offset + rows),
      cols_(placement.target().cols) {
  const int64_t row_step = placement.row_step(), col_step = placement.col_step();
  const int64_t step_bytes = placement.row_bytes(col_step);  // of one row
  if (transposed_) {  // long rows of the file, W's columns, and few of them
    row_block_ = std::min(round_down(kStagingBytes / step_bytes, row_step), round_up(end_, row_step));
    const int64_t deep = kPieceBytes / (std::min(rows, row_block_) * step_bytes);
    col_block_ = std::min(col_step * std::max<int64_t>(1, deep), round_up(cols_, col_step));
  } else {
    col_block_ = std::min(col_step * (kStagingBytes / (row_step * step_bytes)), cols_);
    row_block_ = row_step * std::max<int64_t>(1, kPieceBytes / (row_step * placement.row_bytes(col_block_)));
  }
  first_row_block_ = begin_ / row_block_;
  row_blocks_ = (end_ + row_block_ - 1) / row_block_ - first_row_block_;
  col_blocks_ = (cols_ + col_block_ - 1) / col_block_;
}

Rectangle Pieces::operator[](int64_t piece) const {
  const int64_t row_block = transposed_ ? piece % row_blocks_ : piece / col_blocks_;
  const int64_t col_block = transposed_ ? piece / row_blocks_ : piece % col_blocks_;
  const int64_t begin = std::max(begin_, (first_row_block_ + row_block) * row_block_);
  const int64_t end = std::min(end_, (first_row_block_ + row_block + 1) * row_block_);
  const int64_t col = col_block * col_block_;
  return {begin, end - begin, col, std::min(col_block_, cols_ - col)};
}

int64_t Pieces::most_bytes() const {
  return std::min(end_ - begin_, row_block_) * row_bytes(from_, std::min(cols_, col_block_));
}

}  // namespace kvasir
