#pragma once

#include <cstdint>

#include "types/blocks.h"
#include "types/dtype.h"

namespace kvasir {

// Layout::kTiles, the matrices of CUDA kernels: tiles of kTileRows rows x kTileRowBytes, 8 KiB each, the last
// ones of a matrix padded with zeros; all tiles of 64 rows side by side in memory, in the order of their
// columns. Within a tile, row r is 128 contiguous bytes whose 16-byte pieces are permuted: piece p lies at place
// p ^ (r % 8). A tile copied to shared memory byte by byte is so what ldmatrix reads without bank conflicts and
// what wgmma calls 128-byte swizzle, K-major.
//
// Blocked types: tiles of kTileRows rows x kTileBlockColumns columns, two blocks of a row. Row r is one line: the
// scales of both blocks (q4: scale, min, scale, min), then their numbers, each as what is multiplied by the scale, and
// unsigned: q8's + 128. Numbers lie as the lanes of a warp need them for mma, whose lane 4n + t multiplies columns
// 2t, 2t + 1, 2t + 8 and 2t + 9 of every 16 of row n: block_tile_place.
constexpr int64_t kTileRows = 64;
constexpr int64_t kTileRowBytes = 128;
constexpr int64_t kTileBytes = kTileRows * kTileRowBytes;

// Rows of the gate that alternate with as many of the up projection, gate first: a group of 16 rows holds both
// halves of 8 outputs.
constexpr int64_t kTileInterleaveRows = 8;

constexpr int64_t kTileBlockColumns = 2 * kBlockColumns;

constexpr int64_t tile_cols(DType dtype) {
  return is_blocked(dtype) ? kTileBlockColumns : kTileRowBytes / size_of(dtype);
}

// Bytes of a row of a tile, of its scales alone, and of a tile.
constexpr int64_t tile_scale_bytes(DType dtype) {
  return dtype == DType::kQ8 ? 4 : dtype == DType::kQ4 ? 8 : 0;
}
constexpr int64_t tile_line_bytes(DType dtype) {
  if (!is_blocked(dtype)) return kTileRowBytes;
  return tile_scale_bytes(dtype) + kTileBlockColumns / (dtype == DType::kQ8 ? 1 : 2);
}
constexpr int64_t tile_bytes(DType dtype) { return kTileRows * tile_line_bytes(dtype); }

// Rows that each of several matrices takes in one below the other, so that it begins a tile, and a panel too.
constexpr int64_t stacked_rows(int64_t rows) { return (rows + kTileRows - 1) / kTileRows * kTileRows; }

constexpr int64_t row_tiles(int64_t rows) { return (rows + kTileRows - 1) / kTileRows; }
constexpr int64_t col_tiles(DType dtype, int64_t cols) {
  return (cols + tile_cols(dtype) - 1) / tile_cols(dtype);
}

constexpr int64_t tiles_bytes(DType dtype, int64_t rows, int64_t cols) {
  return row_tiles(rows) * col_tiles(dtype, cols) * tile_bytes(dtype);
}

// Where column c of 64 lies behind a line's scales: its byte, or its half of one, counted in halves, the lower first.
// A lane has 16 bytes (q4: 8): words of 4 numbers for 16 columns each (q4: of 8 for 32 columns, so that numbers 2t and
// 2t + 1 are 16 bits apart).
constexpr int64_t block_tile_place(DType dtype, int64_t c) {
  const int64_t step = c / 16, upper = c % 16 / 8, t = c % 8 / 2, odd = c % 2;
  if (dtype == DType::kQ8) return 16 * t + 4 * step + 2 * upper + odd;
  return 16 * t + 8 * (step / 2) + 2 * (step % 2) + upper + 4 * odd;
}

// Index of W[row][col] counted from the first element of the matrix.
constexpr int64_t tile_index(DType dtype, int64_t cols, int64_t row, int64_t col) {
  const int64_t tile = row / kTileRows * col_tiles(dtype, cols) + col / tile_cols(dtype);
  const int64_t byte = col % tile_cols(dtype) * size_of(dtype), r = row % kTileRows;
  const int64_t place = (byte / 16 ^ (r & 7)) * 16 + byte % 16;
  return (tile * kTileBytes + r * kTileRowBytes + place) / size_of(dtype);
}

}  // namespace kvasir
