#pragma once

#include <cstdint>

#include "types/dtype.h"

namespace kvasir {

// Layout::kTiles, the matrices of CUDA kernels: tiles of kTileRows rows x kTileRowBytes, 8 KiB each, the last
// ones of a matrix padded with zeros; all tiles of 64 rows side by side in memory, in the order of their
// columns. Within a tile, row r is 128 contiguous bytes whose 16-byte pieces are permuted: piece p lies at place
// p ^ (r % 8). A tile copied to shared memory byte by byte is so what ldmatrix reads without bank conflicts and
// what wgmma calls 128-byte swizzle, K-major.
constexpr int64_t kTileRows = 64;
constexpr int64_t kTileRowBytes = 128;
constexpr int64_t kTileBytes = kTileRows * kTileRowBytes;

// Rows of the gate that alternate with as many of the up projection, gate first: a group of 16 rows holds both
// halves of 8 outputs.
constexpr int64_t kTileInterleaveRows = 8;

constexpr int64_t tile_cols(DType dtype) { return kTileRowBytes / size_of(dtype); }

constexpr int64_t row_tiles(int64_t rows) { return (rows + kTileRows - 1) / kTileRows; }
constexpr int64_t col_tiles(DType dtype, int64_t cols) {
  return (cols + tile_cols(dtype) - 1) / tile_cols(dtype);
}

constexpr int64_t tiles_bytes(DType dtype, int64_t rows, int64_t cols) {
  return row_tiles(rows) * col_tiles(dtype, cols) * kTileBytes;
}

// Index of W[row][col] counted from the first element of the matrix.
constexpr int64_t tile_index(DType dtype, int64_t cols, int64_t row, int64_t col) {
  const int64_t tile = row / kTileRows * col_tiles(dtype, cols) + col / tile_cols(dtype);
  const int64_t byte = col % tile_cols(dtype) * size_of(dtype), r = row % kTileRows;
  const int64_t place = (byte / 16 ^ (r & 7)) * 16 + byte % 16;
  return (tile * kTileBytes + r * kTileRowBytes + place) / size_of(dtype);
}

}  // namespace kvasir
