#pragma once

#include <cstdint>

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
constexpr int64_t panel_count(int64_t rows) { return (rows + kPanelRows - 1) / kPanelRows; }

constexpr int64_t panel_cols(DType dtype, int64_t cols) {
  return dtype == DType::kBF16 ? (cols + 1) / 2 * 2 : cols;
}

constexpr int64_t panel_elements(DType dtype, int64_t cols) { return kPanelRows * panel_cols(dtype, cols); }

constexpr int64_t panel_bytes(DType dtype, int64_t cols) {
  return panel_elements(dtype, cols) * size_of(dtype);
}

// Index of W[row][col] counted from the first panel.
constexpr int64_t panel_index(DType dtype, int64_t cols, int64_t row, int64_t col) {
  int64_t start = row / kPanelRows * panel_elements(dtype, cols);
  int64_t lane = row % kPanelRows;
  return dtype == DType::kBF16 ? start + col / 2 * (2 * kPanelRows) + 2 * lane + col % 2
                               : start + col * kPanelRows + lane;
}

}  // namespace kvasir
