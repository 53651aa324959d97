#pragma once

#include <cstddef>
#include <cstdint>

#include "types/dtype.h"
#include "types/panels.h"
#include "types/tiles.h"

namespace kvasir {

// A rectangle of a weight matrix W, as it was read from a file and as it is to lie in memory: columns [col, col +
// cols) of at most kPanelRows rows that lie in one panel, or of at most kTileRows rows that lie in the same tiles.
struct Block {
  const std::byte* source;  // the file's first element of the rectangle
  int64_t source_stride;    // bytes between the file's rows: rows of W, or columns where the file holds W
                            // transposed
  std::byte* target;      // kPanels: the panel; kRows: the rectangle's first element; kTiles: its first line
  int64_t target_stride;  // bytes; kRows: between rows; kTiles: between tiles side by side; kPanels: 0
  int64_t lane;  // kPanels, kTiles: the rectangle's first row in the panel or tile; of tiles modulo 8
  int64_t rows;
  // bf16 in kPanels: col is even, and cols too unless the block ends with W's last column. kTiles: whole lines, and
  // blocked types elsewhere: whole blocks, unless it ends there.
  int64_t col, cols;
};

// Converts and lays out one block; returns whether a finite number became infinite, or, of blocked types, whether one is
// too large or not finite. Rows of the panel that
// are not the block's are left alone. Where bf16 panels pad an odd number of columns, the padding is zero
// afterwards if it was; where tiles pad a line, it is zero afterwards.
using PackBlock = bool (*)(const Block&);

// For numbers kept as `from` in the file and `to` in memory: kF32, kF16 or kBF16; `to` may also be blocked, and `from`
// then the same.
PackBlock pack_block(DType from, DType to, Layout layout, bool transposed);
// Of these, those to blocked types.
PackBlock pack_to_blocks(DType from, DType to, Layout layout, bool transposed);

// The inverse: `count` stored numbers as f32.
void widen(DType dtype, const std::byte* source, float* target, int64_t count);
// For blocked types: one row of a matrix at `data`; of tiles, of those of kTileRows rows.
void widen_blocks(DType dtype, const std::byte* data, Layout layout, int64_t cols, int64_t row, float* out);

}  // namespace kvasir
