#pragma once

// A linear layer of f32 rows, many of them: sums are chains of fmaf.
//
// A block of 128 threads owns 64 stored rows and 64 rows of x. Tiles of both, as wide as a tile of weights,
// pass through a ring of stages in shared memory. A thread has the sums of 8 rows of x and 4 stored rows, for
// the run of columns (linear_runs) and for the runs before it. The totals meet in shared memory and are
// finished from there, four outputs to a thread.
//
// Bytes moved: the weights once for every 64 rows of x, x once for every 64 stored rows.

#include "device/cuda/cuda.h"
#include "device/cuda/vector.cuh"
#include "kernels/linear/linear-epilogue.cuh"
#include "kernels/linear/linear-teams.cuh"
#include "kernels/linear/linear-variants.cuh"
#include "types/tiles.h"

namespace kvasir::cuda {

template <class W_>
struct SimtShape {
  using W = W_;
  static constexpr int kThreads = 128;
  static constexpr int kM = 64, kN = static_cast<int>(kTileRows);
  static constexpr int kThreadM = 8, kThreadN = 4;  // a thread's rows of x are 8 apart, its stored rows 16
  static constexpr int kColumns = static_cast<int>(kTileRowBytes / sizeof(W));
  static constexpr int kStageBytes = static_cast<int>(kTileBytes) + kM * kColumns * 4;
  static constexpr int kStages = 3;
  static constexpr int kSumsPitch = kN + 8;
  static constexpr int kSharedBytes = kStages * kStageBytes;
  static_assert(kM * kSumsPitch * 4 <= kSharedBytes);
};

struct SimtPlan {
  const char* weight;
  const float* x;
  int64_t x_stride;
  int64_t row_tile_bytes;  // of 64 rows of the matrix
  int tiles, run_tiles;    // of columns
  int K;
  bool aligned;  // all rows of x, to 16 bytes
};

// to[0] .. to[3] = from[0] .., of which `count` exist: zeros from there on. To be waited for as a copy.
__device__ __forceinline__ void copy_four(float* to, const float* from, int count, bool aligned) {
  if (count <= 0 || (aligned && count >= 4)) {
    ptx::copy_async(ptx::shared_address(to), from, count > 0);
  } else {
#pragma unroll
    for (int i = 0; i < 4; i++) to[i] = i < count ? from[i] : 0.0f;
  }
}

// Asks for tile `tile` of the weights and as many columns of x, zeros from M and from K on.
template <class Shape>
__device__ __forceinline__ void copy_simt_stage(const SimtPlan& plan, int M, int tile, char* to) {
  const char* weights = plan.weight + blockIdx.x * plan.row_tile_bytes + tile * kTileBytes;
#pragma unroll
  for (int i = static_cast<int>(threadIdx.x) * 16; i < kTileBytes; i += Shape::kThreads * 16)
    ptx::copy_async(ptx::shared_address(to) + i, weights + i);
  constexpr int kPieces = Shape::kColumns / 4;  // in a row of x
  float* rows = reinterpret_cast<float*>(to + kTileBytes);
#pragma unroll 4
  for (int i = static_cast<int>(threadIdx.x); i < Shape::kM * kPieces; i += Shape::kThreads) {
    const int m = static_cast<int>(blockIdx.y) * Shape::kM + i / kPieces;
    const int column = tile * Shape::kColumns + i % kPieces * 4;
    copy_four(rows + i * 4, plan.x + m * plan.x_stride + column, m < M ? plan.K - column : 0, plan.aligned);
  }
}

template <class Shape>
struct ThreadSums {
  float of[Shape::kThreadM][Shape::kThreadN];

  __device__ __forceinline__ void set(float x) {
#pragma unroll
    for (int i = 0; i < Shape::kThreadM; i++)
#pragma unroll
      for (int j = 0; j < Shape::kThreadN; j++) of[i][j] = x;
  }

  __device__ __forceinline__ void add(const ThreadSums& other) {
#pragma unroll
    for (int i = 0; i < Shape::kThreadM; i++)
#pragma unroll
      for (int j = 0; j < Shape::kThreadN; j++) of[i][j] = sum(of[i][j], other.of[i][j]);
  }

  // A stage: rows m0, m0 + 8 ... of x and stored rows n0, n0 + 16 ...
  __device__ __forceinline__ void multiply(const char* stage, int m0, int n0) {
    constexpr int kWeights = 16 / static_cast<int>(sizeof(typename Shape::W));
    const float* x = reinterpret_cast<const float*>(stage + kTileBytes) + m0 * Shape::kColumns;
#pragma unroll 1
    for (int p = 0; p < 8; p++) {
      float w[Shape::kThreadN][kWeights];
#pragma unroll
      for (int j = 0; j < Shape::kThreadN; j++)
        load_weights<typename Shape::W>(stage + (n0 + 16 * j) * kTileRowBytes + (p ^ n0 % 8) * 16, w[j]);
#pragma unroll
      for (int k = 0; k < kWeights; k += 4) {
#pragma unroll
        for (int i = 0; i < Shape::kThreadM; i++) {
          const float4 v = *reinterpret_cast<const float4*>(x + i * 8 * Shape::kColumns + p * kWeights + k);
#pragma unroll
          for (int j = 0; j < Shape::kThreadN; j++) {
            of[i][j] = fmaf(w[j][k], v.x, of[i][j]);
            of[i][j] = fmaf(w[j][k + 1], v.y, of[i][j]);
            of[i][j] = fmaf(w[j][k + 2], v.z, of[i][j]);
            of[i][j] = fmaf(w[j][k + 3], v.w, of[i][j]);
          }
        }
      }
    }
  }

  __device__ __forceinline__ void store(float* to, int m0, int n0) const {
#pragma unroll
    for (int i = 0; i < Shape::kThreadM; i++)
#pragma unroll
      for (int j = 0; j < Shape::kThreadN; j++) to[(m0 + 8 * i) * Shape::kSumsPitch + n0 + 16 * j] = of[i][j];
  }
};

template <class Shape>
__global__ void __launch_bounds__(Shape::kThreads)
    linear_simt_kernel(const __grid_constant__ SimtPlan plan, const __grid_constant__ LinearOutput out) {
  constexpr int kAhead = Shape::kStages - 1;
  ptx::let_successor_start();
  ptx::wait_for_predecessor();
  char* shared = dynamic_shared<char>();
  const int m0 = static_cast<int>(threadIdx.x) / 16, n0 = static_cast<int>(threadIdx.x) % 16;
  for (int i = 0; i < kAhead; i++) {
    if (i < plan.tiles) copy_simt_stage<Shape>(plan, out.M, i, shared + i * Shape::kStageBytes);
    ptx::commit_copies();
  }
  ThreadSums<Shape> sums, total;
  sums.set(0.0f);
  total.set(-0.0f);  // to which the first run is added without a trace
  int slot = 0, run_tile = 0;
#pragma unroll 1
  for (int t = 0; t < plan.tiles; t++) {
    ptx::wait_for_copies<kAhead - 1>();
    __syncthreads();
    const int next = slot == 0 ? kAhead : slot - 1;
    if (t + kAhead < plan.tiles)
      copy_simt_stage<Shape>(plan, out.M, t + kAhead, shared + next * Shape::kStageBytes);
    ptx::commit_copies();
    sums.multiply(shared + slot * Shape::kStageBytes, m0, n0);
    slot = slot == kAhead ? 0 : slot + 1;
    if (++run_tile < plan.run_tiles && t + 1 < plan.tiles) continue;
    total.add(sums);
    sums.set(0.0f);
    run_tile = 0;
  }
  __syncthreads();  // the stages are free
  float* totals = reinterpret_cast<float*>(shared);
  total.store(totals, m0, n0);
  __syncthreads();
  const int m = static_cast<int>(blockIdx.y) * Shape::kM;
  const int count = out.M - m < Shape::kM ? out.M - m : Shape::kM;
  const OutputBlock block{m, count, static_cast<int>(blockIdx.x) * Shape::kN, Shape::kN};
  finish_block<float, 1>(out, block, {totals, 1, 0, Shape::kSumsPitch});
}

}  // namespace kvasir::cuda
