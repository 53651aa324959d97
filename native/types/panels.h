#pragma once

#include <cstdint>

#include "types/blocks.h"
#include "types/dtype.h"

namespace kvasir {

// How a matrix W (rows, cols) = (out, in) lies in memory.
enum class Layout : uint8_t {
  kRows,    // row-major
  kPanels,  // panels of kPanelRows rows, k-major, the last padded with zeros: matrices on the CPU
  kTiles,   // types/tiles.h: matrices on CUDA
};

// Rows of one panel: one 64-byte line of 16-bit, two lines of 32-bit elements for every column.
constexpr int64_t kPanelRows = 32;

// f32 and f16   panel: for each column k: 32 elements, W[32p .. 32p+31][k]
// bf16          panel: for each pair of columns k, k+1 (cols padded to even with zeros): 32 pairs W[row][k],
// W[row][k+1]
// q8            panel: for each block of 32 columns: 32 scales (f16); then, for each 4 columns k .. k+3 of it,
//               32 times the four bytes q[k .. k+3] + 128
// q4            panel: for each block: 32 scales, 32 minima (f16); then, for j = 0 .. 3, 32 times four bytes, the low
//               half of byte i being u of column 4j+i, the high half that of column 16+4j+i
constexpr int64_t panel_count(int64_t rows) { return (rows + kPanelRows - 1) / kPanelRows; }

constexpr int64_t panel_cols(DType dtype, int64_t cols) {
  return dtype == DType::kBF16 ? (cols + 1) / 2 * 2 : cols;
}

constexpr int64_t panel_elements(DType dtype, int64_t cols) { return kPanelRows * panel_cols(dtype, cols); }

// One block of each of a panel's rows, for blocked types.
constexpr int64_t kPanelScaleBytes = kPanelRows * 2;
constexpr int64_t panel_block_header(DType dtype) {
  return dtype == DType::kQ8 ? kPanelScaleBytes : 2 * kPanelScaleBytes;
}
constexpr int64_t panel_block_bytes(DType dtype) {
  return panel_block_header(dtype) + kPanelRows * kBlockColumns / (dtype == DType::kQ8 ? 1 : 2);
}

constexpr int64_t panel_bytes(DType dtype, int64_t cols) {
  return is_blocked(dtype) ? block_count(cols) * panel_block_bytes(dtype)
                           : panel_elements(dtype, cols) * size_of(dtype);
}

// Index of W[row][col] counted from the first panel; of types that are not blocked.
constexpr int64_t panel_index(DType dtype, int64_t cols, int64_t row, int64_t col) {
  int64_t start = row / kPanelRows * panel_elements(dtype, cols);
  int64_t lane = row % kPanelRows;
  return dtype == DType::kBF16 ? start + col / 2 * (2 * kPanelRows) + 2 * lane + col % 2
                               : start + col * kPanelRows + lane;
}

}  // namespace kvasir
