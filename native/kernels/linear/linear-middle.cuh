#pragma once

// A linear layer of some rows, 16-bit: the weights are still what takes longest to read, but x no longer fits
// into shared memory, and reading it for every few stored rows would take as long.
//
// A block owns kN stored rows, all rows of x (up to kM) and some runs of columns (linear_runs). Its warps
// share tiles of weights and of x, 64 columns wide, that pass through a ring of stages in shared memory; a
// warp has the sums of kWarpM x kWarpN of them in registers. One half of the threads asks for weights, the
// other for x: a thread's copies arrive in the order in which it asks for them, and the weights of the first
// stages are asked for before the kernel's predecessor has ended.
//
// Where one block takes all runs, it adds them as they end. Else the blocks leave the sums of their runs in
// device memory (the one that begins with the first run: its total), and the last one to arrive adds them in
// the order of the runs. In both cases the block that has the totals finishes them, four outputs to a thread.
//
// Bytes moved: the weights once, x once for every kN stored rows, from the second-level cache.

#include "device/cuda/cuda.h"
#include "device/cuda/vector.cuh"
#include "kernels/linear/linear-epilogue.cuh"
#include "kernels/linear/linear-many-rows.cuh"
#include "kernels/linear/linear-variants.cuh"
#include "types/tiles.h"

namespace kvasir::cuda {

template <class T_, int kM_, int kN_>
struct MiddleShape {
  using T = T_;
  static constexpr int kM = kM_, kN = kN_;
  static constexpr int kWarps = kN / 16, kWarpsM = kM < 64 ? 1 : 2, kWarpsN = kWarps / kWarpsM;
  static constexpr int kWarpM = kM / kWarpsM, kWarpN = kN / kWarpsN;
  static constexpr int kThreads = 32 * kWarps;
  static constexpr int kCopyThreads = kThreads / 2;  // of weights, and as many of x
  static constexpr int kWeightBytes = kN * static_cast<int>(kTileRowBytes);
  static constexpr int kStageBytes = kWeightBytes + kM * static_cast<int>(kTileRowBytes);
  // 96 KiB, so that two blocks run on a multiprocessor of the larger kind and one on any.
  static constexpr int kStages = 96 * 1024 / kStageBytes < 8 ? 96 * 1024 / kStageBytes : 8;
  static constexpr int kAhead = kStages - 1;
  static constexpr int kSumsPitch = kN + 8;  // shifts rows by 8 banks
  static constexpr int kSharedBytes = kStages * kStageBytes;
  static_assert(kM * kSumsPitch * 4 <= kSharedBytes);
  static constexpr int kResidentBlocks = kM * kN < 128 * 128 ? 2 : 1;
};

struct MiddlePlan {
  const char* weight;
  const void* x;
  int64_t x_stride;
  int64_t row_tile_bytes;  // of 64 rows of the matrix
  int row_tiles, tiles;    // of rows, of columns
  int runs, run_tiles;
  int block_runs;  // of one block
  int K;
  float* sums;  // what blocks leave: of each kN stored rows (parts,M,kN)
  uint32_t* arrived;
  bool aligned;  // all rows of x, to 16 bytes
};

// Asks for tile `tile` of the block's stored rows. Rows of tiles that do not exist stay as they are: they
// have no outputs.
template <class Shape>
__device__ __forceinline__ void copy_weights(const MiddlePlan& plan, int tile, char* to, int thread) {
  constexpr int kRowTiles = Shape::kN / static_cast<int>(kTileRows);
#pragma unroll
  for (int i = 0; i < kRowTiles; i++) {
    const int row_tile = static_cast<int>(blockIdx.x) * kRowTiles + i;
    if (row_tile >= plan.row_tiles) break;
    const char* from = plan.weight + row_tile * plan.row_tile_bytes + tile * kTileBytes;
    const uint32_t address = ptx::shared_address(to) + i * static_cast<int>(kTileBytes);
#pragma unroll
    for (int byte = 0; byte < kTileBytes; byte += Shape::kCopyThreads * 16)
      ptx::copy_async(address + byte + thread * 16, from + byte + thread * 16);
  }
}

// Asks for columns 64 * tile .. of x, zeros from M and from K on.
template <class Shape>
__device__ __forceinline__ void copy_x(const MiddlePlan& plan, int M, int tile, char* to, int thread) {
  using T = typename Shape::T;
#pragma unroll
  for (int i = thread; i < Shape::kM * 8; i += Shape::kCopyThreads) {
    const int m = i / 8, column = tile * 64 + i % 8 * 8, count = m < M ? plan.K - column : 0;
    const T* from = static_cast<const T*>(plan.x) + m * plan.x_stride + column;
    char* place = to + place_of_piece(m, i % 8);
    if (count <= 0 || (plan.aligned && count >= 8)) {
      ptx::copy_async(ptx::shared_address(place), from, count > 0);
    } else {
      T* elements = reinterpret_cast<T*>(place);
#pragma unroll
      for (int j = 0; j < 8; j++) elements[j] = j < count ? from[j] : T{};
    }
  }
}

// A block's tiles on their way: each half of the threads asks for its kind.
template <class Shape>
struct MiddleRing {
  const MiddlePlan& plan;
  int first_tile, tiles;
  int M;

  // Tile number t of the block to a stage, if it exists.
  __device__ __forceinline__ void fetch(int t, int stage) const {
    const int thread = static_cast<int>(threadIdx.x), tile = first_tile + t;
    char* to = dynamic_shared<char>() + stage * Shape::kStageBytes;
    if (t < tiles) {
      if (thread < Shape::kCopyThreads) {
        copy_weights<Shape>(plan, tile, to, thread);
      } else {
        copy_x<Shape>(plan, M, tile, to + Shape::kWeightBytes, thread - Shape::kCopyThreads);
      }
    }
    ptx::commit_copies();
  }

  __device__ __forceinline__ void begin() const {
    if (threadIdx.x < Shape::kCopyThreads) {
      for (int i = 0; i < Shape::kAhead; i++) fetch(i, i);
      ptx::wait_for_predecessor();
    } else {
      ptx::wait_for_predecessor();
      for (int i = 0; i < Shape::kAhead; i++) fetch(i, i);
    }
  }
};

// A warp's sums: products of 16 rows of x and 8 stored rows.
template <class Shape>
struct WarpSums {
  static constexpr int kTilesM = Shape::kWarpM / 16, kTilesN = Shape::kWarpN / 8;
  float of[kTilesM][kTilesN][4];

  __device__ __forceinline__ void set(float x) {
#pragma unroll
    for (int i = 0; i < kTilesM; i++)
#pragma unroll
      for (int j = 0; j < kTilesN; j++) of[i][j][0] = of[i][j][1] = of[i][j][2] = of[i][j][3] = x;
  }

  __device__ __forceinline__ void add(const WarpSums& other) {
#pragma unroll
    for (int i = 0; i < kTilesM; i++)
#pragma unroll
      for (int j = 0; j < kTilesN; j++)
#pragma unroll
        for (int k = 0; k < 4; k++) of[i][j][k] = sum(of[i][j][k], other.of[i][j][k]);
  }

  // A stage of 64 columns.
  __device__ __forceinline__ void multiply(const char* stage, int m0, int n0, int lane) {
    const uint32_t weights =
        ptx::shared_address(stage) + place_of_piece(n0 + lane / 16 * 8 + lane % 8, lane / 8 % 2);
    const uint32_t x =
        ptx::shared_address(stage + Shape::kWeightBytes) + place_of_piece(m0 + lane % 16, lane / 16);
#pragma unroll 2
    for (int k = 0; k < 4; k++) {
      uint32_t b[kTilesN / 2][4];
#pragma unroll
      for (int j = 0; j < kTilesN / 2; j++)
        ptx::ldmatrix_x4(b[j], (weights ^ k * 32) + j * 16 * static_cast<int>(kTileRowBytes));
#pragma unroll
      for (int i = 0; i < kTilesM; i++) {
        uint32_t a[4];
        ptx::ldmatrix_x4(a, (x ^ k * 32) + i * 16 * static_cast<int>(kTileRowBytes));
#pragma unroll
        for (int j = 0; j < kTilesN; j++) {
          const uint32_t columns[2] = {b[j / 2][j % 2 * 2], b[j / 2][j % 2 * 2 + 1]};
          ptx::mma<typename Shape::T>(of[i][j], a, columns);
        }
      }
    }
  }

  // to[m * pitch + n], the rows of x below M.
  __device__ __forceinline__ void store(float* to, int pitch, int M, int m0, int n0, int lane) const {
#pragma unroll
    for (int i = 0; i < kTilesM; i++) {
#pragma unroll
      for (int half = 0; half < 2; half++) {
        const int m = m0 + i * 16 + half * 8 + lane / 4;
        if (m >= M) continue;
        float* row = to + m * pitch + n0 + lane % 4 * 2;
#pragma unroll
        for (int j = 0; j < kTilesN; j++)
          *reinterpret_cast<float2*>(row + j * 8) = make_float2(of[i][j][2 * half], of[i][j][2 * half + 1]);
      }
    }
  }
};

// Whether all blocks that share these stored rows have left their sums: true for the last one alone, which
// then sees them.
__device__ __forceinline__ bool arrive_last(uint32_t* arrived, uint32_t blocks) {
  __shared__ bool last;
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) {
    last = atomicAdd(arrived, 1u) == blocks - 1;
    if (last) *arrived = 0;
    __threadfence();
  }
  __syncthreads();
  return last;
}

// The sums of a block's runs, on their way to the totals.
template <class Shape>
struct MiddleSums {
  const MiddlePlan& plan;
  int M, m0, n0, lane;
  WarpSums<Shape> run, total;

  __device__ __forceinline__ void begin() {
    run.set(0.0f);
    total.set(-0.0f);  // to which the first run is added without a trace
  }

  // What blocks leave: the total of the first block's runs, and each later run.
  __device__ __forceinline__ int parts() const { return 1 + plan.runs - plan.block_runs; }
  __device__ __forceinline__ int part_size() const { return M * Shape::kN; }
  __device__ __forceinline__ float* left() const {
    return plan.sums + static_cast<int64_t>(blockIdx.x) * parts() * part_size();
  }

  // Run number `number` has ended.
  __device__ __forceinline__ void end_run(int number) {
    if (blockIdx.y == 0) {
      total.add(run);
    } else {
      run.store(left() + (1 + number - plan.block_runs) * part_size(), Shape::kN, M, m0, n0, lane);
    }
    run.set(0.0f);
  }

  __device__ __forceinline__ void finish(const LinearOutput& out) {
    using T = typename Shape::T;
    const OutputBlock block{0, M, static_cast<int>(blockIdx.x) * Shape::kN, Shape::kN};
    if (gridDim.y == 1) {
      float* totals = dynamic_shared<float>();
      __syncthreads();  // the stages are free
      total.store(totals, Shape::kSumsPitch, M, m0, n0, lane);
      __syncthreads();
      return finish_block<T, 1>(out, block, {totals, 1, 0, Shape::kSumsPitch});
    }
    if (blockIdx.y == 0) total.store(left(), Shape::kN, M, m0, n0, lane);
    if (arrive_last(plan.arrived + blockIdx.x, gridDim.y))
      finish_block<T, 4>(out, block, {left(), parts(), part_size(), Shape::kN});
  }
};

template <class Shape>
__global__ void __launch_bounds__(Shape::kThreads, Shape::kResidentBlocks)
    linear_middle_kernel(const __grid_constant__ MiddlePlan plan, const __grid_constant__ LinearOutput out) {
  ptx::let_successor_start();
  const int first_run = static_cast<int>(blockIdx.y) * plan.block_runs;
  const int first_tile = first_run * plan.run_tiles;
  const int most = plan.block_runs * plan.run_tiles;
  const int tiles = plan.tiles - first_tile < most ? plan.tiles - first_tile : most;
  const MiddleRing<Shape> ring{plan, first_tile, tiles, out.M};
  ring.begin();

  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const int m0 = warp / Shape::kWarpsN * Shape::kWarpM, n0 = warp % Shape::kWarpsN * Shape::kWarpN;
  MiddleSums<Shape> sums{plan, out.M, m0, n0, lane, {}, {}};
  sums.begin();
  int run = first_run, run_tile = 0, stage = 0;
#pragma unroll 1
  for (int t = 0; t < tiles; t++) {
    ptx::wait_for_copies<Shape::kAhead - 1>();
    __syncthreads();
    ring.fetch(t + Shape::kAhead, stage == 0 ? Shape::kAhead : stage - 1);
    sums.run.multiply(dynamic_shared<char>() + stage * Shape::kStageBytes, m0, n0, lane);
    stage = stage == Shape::kAhead ? 0 : stage + 1;
    if (++run_tile < plan.run_tiles && t + 1 < tiles) continue;
    sums.end_run(run++);
    run_tile = 0;
  }
  sums.finish(out);
}

}  // namespace kvasir::cuda
