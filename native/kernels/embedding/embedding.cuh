#pragma once

// A thread takes 8 elements of a token's row: 16 bytes of a 16-bit weight, which in tiles are one piece of a
// tile's row. The weight's bytes of the tokens' rows and one size of T for every element move.

#include <type_traits>

#include "device/cuda/block-line.cuh"
#include "device/cuda/vector.cuh"
#include "kernels/embedding/embedding.h"
#include "types/tiles.h"

namespace kvasir::cuda {

// Elements c .. c+7, c a multiple of 8, of row `row` of a matrix in tiles. Beyond its columns lie zeros.
template <class W>
__device__ __forceinline__ void load_tile_group(const W* weight, int64_t tiles_per_row, int64_t row,
                                                int64_t c, float (&x)[kGroup]) {
  constexpr int kPiece = 16 / sizeof(W), kTileCols = kTileRowBytes / sizeof(W);
  const int64_t tile = row / kTileRows * tiles_per_row + c / kTileCols;
  const int r = static_cast<int>(row % kTileRows), piece = static_cast<int>(c % kTileCols) / kPiece;
  const W* start = weight + (tile * kTileRows + r) * kTileCols;
  if constexpr (kPiece == kGroup) {
    load_whole(start + (piece ^ r % 8) * kPiece, x);
  } else {
#pragma unroll
    for (int half = 0; half < 2; half++) {
      const W* place = start + ((piece + half) ^ r % 8) * kPiece;
      const float4 values = *reinterpret_cast<const float4*>(place);
      x[4 * half] = values.x, x[4 * half + 1] = values.y, x[4 * half + 2] = values.z,
            x[4 * half + 3] = values.w;
    }
  }
}

// The same of a matrix in blocks. In tiles, beyond its columns are any numbers of its last block.
template <DType kType>
__device__ __forceinline__ void load_block_group(const Embedding& p, int64_t row, int64_t c,
                                                 float (&x)[kGroup]) {
  const char* weight = static_cast<const char*>(p.weight);
  if (p.weight_layout == Layout::kTiles) {
    const int64_t tiles_per_row = (p.C + kTileBlockColumns - 1) / kTileBlockColumns;
    const int64_t tile = row / kTileRows * tiles_per_row + c / kTileBlockColumns;
    const char* line = weight + tile * kBlockTileBytes<kType> + row % kTileRows * kLineBytes<kType>;
    return load_eight<kType>(line, static_cast<int>(c % kTileBlockColumns) / kGroup, x);
  }
  constexpr int64_t kBlockBytes = kType == DType::kQ8 ? sizeof(Q8Block) : sizeof(Q4Block);
  const int64_t blocks_per_row = (p.C + kBlockColumns - 1) / kBlockColumns;
  const char* from = weight + (row * blocks_per_row + c / kBlockColumns) * kBlockBytes;
  const int first = static_cast<int>(c % kBlockColumns);
  if constexpr (kType == DType::kQ8) {
    const auto& block = *reinterpret_cast<const Q8Block*>(from);
    const float scale = to_float(f16{block.scale});
#pragma unroll
    for (int i = 0; i < kGroup; i++) x[i] = product(scale, static_cast<float>(block.q[first + i]));
  } else {
    const auto& block = *reinterpret_cast<const Q4Block*>(from);
    const float scale = to_float(f16{block.scale}), min = to_float(f16{block.min});
#pragma unroll
    for (int i = 0; i < kGroup; i++) {
      const int byte = block.q[(first + i) % (kBlockColumns / 2)];
      x[i] = fmaf(scale, static_cast<float>(first < kBlockColumns / 2 ? byte & 15 : byte >> 4), min);
    }
  }
}

template <class T, DType kType>
__global__ void __launch_bounds__(kPieceThreads) embed_blocks_kernel(Embedding p) {
  ptx::let_successor_start();
  ptx::wait_for_predecessor();
  for_each_group(p.N, p.C, [&](int64_t n, int64_t c, int64_t count) {
    float x[kGroup];
    load_block_group<kType>(p, p.ids[n], c, x);
    store_group(static_cast<T*>(p.y) + n * p.y_stride + c, count, x);
  });
}

template <class T, class W>
__global__ void __launch_bounds__(kPieceThreads) embedding_kernel(Embedding p) {
  ptx::let_successor_start();
  ptx::wait_for_predecessor();
  const W* weight = static_cast<const W*>(p.weight);
  constexpr int kTileCols = kTileRowBytes / sizeof(W);
  const int64_t tiles_per_row = (p.C + kTileCols - 1) / kTileCols;
  for_each_group(p.N, p.C, [&](int64_t n, int64_t c, int64_t count) {
    const int64_t id = p.ids[n];
    float x[kGroup];
    if (p.weight_layout == Layout::kTiles) {
      load_tile_group(weight, tiles_per_row, id, c, x);
    } else {
      load_group(weight + id * p.C + c, count, x);
    }
    store_group(static_cast<T*>(p.y) + n * p.y_stride + c, count, x);
  });
}

// A 16-bit y takes a weight of its own type, in blocks or, for tables that are constants, f32; an f32 one takes any.
inline void launch_embedding(const Embedding& p, Execution& e) {
  if (p.weight_layout == Layout::kPanels) throw Error(ErrorKind::kInternal, "embedding: panels on CUDA");
  with_type(p.dtype, [&](auto t) {
    using T = decltype(t);
    if (is_blocked(p.weight_dtype))
      return with_block_type(p.weight_dtype, [&](auto type) {
        launch_groups(e, embed_blocks_kernel<T, type.value>, p.N, p.C, p);
      });
    if (p.weight_dtype == p.dtype) return launch_groups(e, embedding_kernel<T, T>, p.N, p.C, p);
    if constexpr (std::is_same_v<T, float>) {
      with_half_type(p.weight_dtype,
                     [&](auto w) { launch_groups(e, embedding_kernel<float, decltype(w)>, p.N, p.C, p); });
    } else {
      if (p.weight_dtype != DType::kF32) throw Error(ErrorKind::kInternal, "embedding: two types on CUDA");
      launch_groups(e, embedding_kernel<T, float>, p.N, p.C, p);
    }
  });
}

}  // namespace kvasir::cuda
