#pragma once

// Weights in q8 and q4. Few rows: warps that make T of them in registers, where mma takes them from. Other layers:
// tiles of the type that x has are made of some rows' blocks, few enough that they stay in the second-level cache, and
// multiplied by the kernels for those; then of the next rows.
//
// Bytes moved: of few rows, the blocks once; else the blocks once, and their tiles, written and read, from the
// second-level cache.

#include "device/cuda/block-line.cuh"
#include "kernels/linear/linear-row.cuh"

namespace kvasir::cuda {

// As MatrixTeam, with weights in blocks.
template <class T_, DType kType, int kMaxRows_, int kTiles>
struct BlockTeam : MatrixTeam<T_, kMaxRows_, kTiles> {
  using Base = MatrixTeam<T_, kMaxRows_, kTiles>;
  using T = T_;
  static constexpr int kLineBytes = cuda::kLineBytes<kType>;
  static constexpr int kRingPieces = 8192 / (Base::kStoredRows * kLineBytes);  // 8 KiB a warp

  int line_offset, t;  // of the lane's row, and its part of it

  __device__ __forceinline__ BlockTeam(const TeamInput<T>& x, int lane)
      : Base(x, lane), line_offset(lane / 4 * kLineBytes), t(lane % 4) {}

  __device__ __forceinline__ void multiply(const char* piece, int column) {
#pragma unroll
    for (int half = 0; half < 2; half++) {
      uint32_t low[4], high[4];
      this->load_x(column + half * 32, low, high);
#pragma unroll
      for (int i = 0; i < kTiles; i++) {
        const LanePart<kType> part(piece + i * 8 * kLineBytes + line_offset, t);
        uint32_t b[2];
        part.template operand<T>(2 * half, b);
        ptx::mma<T>(this->sums[i], low, b);
        part.template operand<T>(2 * half + 1, b);
        ptx::mma<T>(this->sums[i], high, b);
      }
    }
  }
};

struct UnpackPlan {
  const char* blocks;  // of whole tiles of rows
  void* tiles;
  int row_tiles, block_tiles, tiles_in_row;  // of columns: of blocks, of T
};

constexpr int kUnpackThreads = 256;

// For kernels that multiply those tiles: others read weights before the kernel before them has ended.
inline Execution after_predecessor(const Execution& e) {
  Execution after = e;
  after.overlap = false;
  return after;
}

// A thread makes eight numbers of a row: a piece of a tile of 16-bit numbers, two of f32.
template <class T, DType kType>
__global__ void __launch_bounds__(kUnpackThreads)
    unpack_blocks_kernel(const __grid_constant__ UnpackPlan plan) {
  constexpr int kColumns = static_cast<int>(kTileRowBytes / sizeof(T)),
                kPiece = 16 / static_cast<int>(sizeof(T));
  ptx::let_successor_start();
  ptx::wait_for_predecessor();
  const int64_t thread = static_cast<int64_t>(blockIdx.x) * kUnpackThreads + threadIdx.x;
  const int eight = static_cast<int>(thread % 8), row = static_cast<int>(thread / 8 % kTileRows);
  const int64_t tile = thread / (8 * kTileRows), row_tile = tile / plan.block_tiles;
  if (row_tile >= plan.row_tiles) return;
  const int column = static_cast<int>(tile % plan.block_tiles * kTileBlockColumns) + eight * kGroup;
  if (column / kColumns >= plan.tiles_in_row) return;
  float x[kGroup];
  load_eight<kType>(plan.blocks + tile * kBlockTileBytes<kType> + row * kLineBytes<kType>, eight, x);
  T* line = static_cast<T*>(plan.tiles) +
            ((row_tile * plan.tiles_in_row + column / kColumns) * kTileRows + row) * kColumns;
#pragma unroll
  for (int i = 0; i < kGroup / kPiece; i++) {
    T* to = line + ((column % kColumns / kPiece + i) ^ row % 8) * kPiece;
    if constexpr (sizeof(T) == 2) {
      store_whole(to, x);
    } else {
      *reinterpret_cast<float4*>(to) = make_float4(x[4 * i], x[4 * i + 1], x[4 * i + 2], x[4 * i + 3]);
    }
  }
}

}  // namespace kvasir::cuda
