#pragma once

#include <cstddef>
#include <cstdint>

#include "checkpoint/pack.h"
#include "checkpoint/staging-pool.h"
#include "checkpoint/store.h"

namespace kvasir {

constexpr int64_t round_down(int64_t value, int64_t step) { return value / step * step; }
constexpr int64_t round_up(int64_t value, int64_t step) { return (value + step - 1) / step * step; }

// Rows and columns of a part's own matrix, as Linear counts them: not interleaved, not transposed.
struct Rectangle {
  int64_t row, rows, col, cols;
};

// The numbers that a part has, and where they go in a stored tensor.
struct PartLayout {
  DType from;           // as they are read
  bool transposed;      // the same
  int64_t step, first;  // LoadPart's panel_step and first_panel
  float addend;         // the same
};

// Packs numbers into a tensor: in the host's memory in place, in a device's memory through staging buffers,
// with as few copies as the layout allows.
class Placement {
 public:
  // `staging` is null where the host addresses the tensor's memory.
  Placement(const StoredTensor& target, StagingPool* staging, const PartLayout& part);

  const StoredTensor& target() const { return target_; }
  const PartLayout& part() const { return part_; }
  int64_t stored_row(int64_t row) const {
    return (row / group_ * part_.step + part_.first) * group_ + row % group_;
  }

  // Packs a rectangle of Pieces. The source is as in Block. Copies to a device's memory may be in flight when
  // it returns. Returns whether a finite number became infinite. Safe from several threads. Throws Error:
  // kOutOfMemory, kDevice.
  bool put(const Rectangle& rectangle, const std::byte* source, int64_t source_stride) const;

  // Rectangles begin and end at multiples of these, or with the part.
  int64_t row_step() const { return target_.layout == Layout::kTiles ? kTileRows : kPanelRows; }
  int64_t col_step() const;
  // What a row of so many columns takes up in a buffer: in the larger of those that it goes through.
  int64_t row_bytes(int64_t cols) const;

 private:
  bool put_in_place(const Rectangle& rectangle, const std::byte* source, int64_t stride) const;
  bool put_rows(const Rectangle& rectangle, const std::byte* source, int64_t stride) const;
  bool put_tiles(const Rectangle& rectangle, const std::byte* source, int64_t stride) const;
  Block block(const Rectangle& rectangle, int64_t row, const std::byte* source, int64_t stride) const;
  bool pack(const Block& block) const;
  std::byte* address(int64_t stored_row, int64_t col) const;
  int64_t target_stride() const;

  const StoredTensor& target_;
  StagingPool* const staging_;
  const PartLayout part_;
  const int64_t group_;  // rows that stay together where matrices are interleaved
  const int64_t unit_;   // rows that are packed in one go: within a panel or tile, and a group
  const PackBlock pack_;
};

// The rows of a part cut into rectangles that fit a staging buffer and stay in L2, in the order of the file.
class Pieces {
 public:
  Pieces(const Placement& placement, int64_t row_offset, int64_t rows);

  int64_t count() const { return row_blocks_ * col_blocks_; }
  Rectangle operator[](int64_t piece) const;
  // Of any rectangle, as it is read.
  int64_t most_bytes() const;

 private:
  const DType from_;
  const bool transposed_;
  const int64_t begin_, end_, cols_;
  // Blocks of rows, aligned to multiples of row_block_, by blocks of columns.
  int64_t row_block_, row_blocks_, first_row_block_, col_block_, col_blocks_;
};

}  // namespace kvasir
