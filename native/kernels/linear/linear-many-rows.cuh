#pragma once

// How the kernels for many rows cut y into tiles: stored rows of the weight, which are outputs, by tokens, which
// are rows of x and y.

#include "device/cuda/cuda.h"
#include "types/tiles.h"

namespace kvasir::cuda {

// Tiles are numbered so that those that run at the same time read few different rows: groups of `group` blocks of
// rows by all blocks of tokens, in a group column after column.
struct TileOrder {
  int row_blocks, token_blocks;
  int group;
};

struct TilePlace {
  int row_block, token_block;
};

inline int64_t blocks_of(int64_t size, int64_t block) { return (size + block - 1) / block; }

__device__ __forceinline__ TilePlace place_of_tile(const TileOrder& order, int tile) {
  const int group_tiles = order.group * order.token_blocks;
  const int first = tile / group_tiles * order.group, within = tile % group_tiles;
  const int rows = order.row_blocks - first < order.group ? order.row_blocks - first : order.group;
  return {first + within % rows, within / rows};
}

// The first output of the group of 8 stored rows (gated: 16, gates and ups) that begins with `row`.
__host__ __device__ __forceinline__ int64_t output_of_row(bool gated, int64_t row) {
  return gated ? row / 2 : row;
}

// Where the 16-byte piece `piece` of row `row` lies among rows of 128 bytes: types/tiles.h.
__device__ __forceinline__ int place_of_piece(int row, int piece) {
  return row * static_cast<int>(kTileRowBytes) + ((piece ^ row % 8) * 16);
}

}  // namespace kvasir::cuda
