#pragma once

// Linear layers of many rows on Hopper, by wgmma and the copy engine.
//
// A block of three warpgroups stays on a multiprocessor and takes tile after tile of y: 128 stored rows of the
// weight (M of the instruction) by kTokens rows of x (N).
//
//   warp 0        one thread brings blocks of 64 columns to a ring in shared memory: two tiles of the weight as
//                 they are, and a box of x, whose permutation the copy engine does; zeros outside x
//   warps 1 to 3  the movers: rows of the residual to shared memory, and finished rows from there to y
//   warps 4 to 11 two warpgroups that multiply, 64 stored rows each, with the sums of the run under way and the
//                 totals of the runs before it in registers
//
// Each multiplying warpgroup has its own place in shared memory for finished outputs. The movers fill it with the
// residual while the tile is multiplied; the warpgroup adds what it finds, and leaves y there, from where it is
// written while the next tile is multiplied. The two warpgroups share x and so the tile, but not the time: they meet
// at the ring alone, whose depth lets one finish its outputs while the other still multiplies. Two tiles at a time,
// one for each warpgroup, would separate them further, but x would have to come twice: with sums and totals in
// registers a warpgroup's part cannot be larger than 64 x 208.
//
// Bytes from the second-level cache: (128 + kTokens) * 128 for 2 * 128 * kTokens * 64 operations.

#include "device/cuda/ptx-wgmma.cuh"
#include "kernels/linear/linear-hopper-copies.cuh"
#include "kernels/linear/linear-hopper-outputs.cuh"

namespace kvasir::cuda {

// One of the two multiplying warpgroups.
template <class T, class Y, int kTokens>
struct HopperMultiplier : HopperBlock<T, Y, kTokens> {
  using Block = HopperBlock<T, Y, kTokens>;
  using Tile = typename Block::Tile;
  using Position = typename Block::Position;
  int warpgroup;

  // Sums (kTokens / 2 of the thread) of the next `blocks` stages. The four warps go together.
  __device__ __forceinline__ void multiply(float (&sums)[kTokens / 2], int blocks, Position& at) const {
    constexpr int kAtomBytes = 8 * kTileRowBytes;  // 8 rows, after which the permutation begins anew
    constexpr int kStep = 16 * sizeof(T) / 16;     // 16 columns, in the descriptors' unit of 16 bytes
    ptx::pin(sums);
    for (int block = 0; block < blocks; block++, at.advance()) {
      const uint32_t stage = this->stage(at.stage);
      const uint64_t rows = ptx::matrix_descriptor(stage + warpgroup * kTileBytes, 0, kAtomBytes);
      const uint64_t tokens = ptx::matrix_descriptor(stage + Tile::kWeightBytes, 0, kAtomBytes);
      ptx::mbarrier_wait(this->full(at.stage), at.parity);
      ptx::wgmma_fence();
#pragma unroll
      for (int k = 0; k < kHopperColumns / 16; k++)
        ptx::wgmma<T, kTokens>(sums, rows + k * kStep, tokens + k * kStep, k > 0 || block > 0);
      ptx::wgmma_commit();
      ptx::wgmma_wait<1>();
      if (block > 0) release_before(at);
    }
    ptx::wgmma_wait<0>();
    ptx::pin(sums);
    release_before(at);
  }

  // The stage before this one has been read.
  __device__ __forceinline__ void release_before(Position at) const {
    const int stage = at.stage == 0 ? Tile::kStages - 1 : at.stage - 1;
    if (threadIdx.x % 32 == 0) ptx::mbarrier_arrive(this->empty(stage));
  }

  __device__ void run() const {
    Position at;
    this->for_each_tile([&](TilePlace tile) {
      const HopperOutputs<T, Y, kTokens> outputs(this->p, tile, warpgroup,
                                                 static_cast<int>(threadIdx.x % 128));
      float sums[kTokens / 2], totals[kTokens / 2];
#pragma unroll
      for (int i = 0; i < kTokens / 2; i++) {
        sums[i] = 0.0f;     // else the compiler keeps those of the tile before until here
        totals[i] = -0.0f;  // -0 + s is s for every s
      }
      for (int left = this->p.k_blocks; left > 0; left -= this->p.run_blocks) {
        multiply(sums, left < this->p.run_blocks ? left : this->p.run_blocks, at);
#pragma unroll
        for (int i = 0; i < kTokens / 2; i++) totals[i] = sum(totals[i], sums[i]);
      }
      ptx::barrier_sync(kPlaceReady + warpgroup, kPlaceThreads);
      outputs.finish(totals);
      ptx::barrier_arrive(kPlaceWritten + warpgroup, kPlaceThreads);
    });
  }
};

template <class T, class Y, int kTokens>
__global__ void __launch_bounds__(kHopperThreads, 1)
    linear_hopper_kernel(const __grid_constant__ HopperProblem p, const __grid_constant__ TensorMap x) {
  ptx::let_successor_start();
  if (threadIdx.x == 0) HopperBlock<T, Y, kTokens>{p}.initialize();
  __syncthreads();
  // 128 * 40 + 256 * 232 registers are what 384 threads have at the start, 168 each.
  const int warpgroup = static_cast<int>(threadIdx.x) / 128;
  if (warpgroup == 0) {
    ptx::registers_down<40>();
    ptx::wait_for_predecessor();
    if (threadIdx.x == 0) HopperProducer<T, Y, kTokens>{{p}}.run(&x);
    if (threadIdx.x >= 32) HopperMover<T, Y, kTokens>{{p}}.run();
  } else {
    ptx::registers_up<232>();
    HopperMultiplier<T, Y, kTokens>{{p}, warpgroup - 1}.run();
  }
}

template <class T, class Y, int kTokens>
void launch_hopper(const Linear& p, HopperProblem problem, Execution& e) {
  problem.order.token_blocks = static_cast<int>(blocks_of(p.M, kTokens));
  problem.order.group = kTokens > 64 ? 12 : 8;  // 132 tiles at a time have about as many rows as tokens
  problem.tiles = problem.order.row_blocks * problem.order.token_blocks;
  const TensorMap x =
      ptx::tensor_map(p.dtype, p.x, p.M, p.K, p.x_stride * size_of(p.dtype), kTokens, kHopperColumns);
  const int blocks = problem.tiles < e.multiprocessors ? problem.tiles : e.multiprocessors;
  launch(e, linear_hopper_kernel<T, Y, kTokens>,
         {dim3(static_cast<unsigned>(blocks)), dim3(kHopperThreads), HopperTile<T, Y, kTokens>::kSharedBytes},
         problem, x);
}

// Time of a layer with tiles of so many tokens: waves of blocks times what a tile moves through shared memory for 16
// columns. Each warpgroup reads its rows, 2 KiB, and all tokens; the copy engine writes both rows and the tokens. At
// 128 bytes a clock that takes longer than the products.
inline int64_t hopper_cost(const Linear& p, const HopperProblem& problem, int tokens, int multiprocessors) {
  return blocks_of(problem.order.row_blocks * blocks_of(p.M, tokens), multiprocessors) * (8192 + 96 * tokens);
}

template <class T, class Y, int... kTokens>
void launch_cheapest(const Linear& p, const HopperProblem& problem, Execution& e) {
  int best = 0;
  for (const int tokens : {kTokens...}) {
    const auto cost = [&](int t) { return hopper_cost(p, problem, t, e.multiprocessors); };
    if (best == 0 || cost(tokens) < cost(best)) best = tokens;
  }
  ((kTokens == best ? launch_hopper<T, Y, kTokens>(p, problem, e) : void()), ...);
}

inline bool rows_aligned(const void* p, int64_t stride, DType dtype) {
  return reinterpret_cast<uintptr_t>(p) % 16 == 0 && stride * size_of(dtype) % 16 == 0;
}

inline HopperProblem hopper_problem(const Linear& p) {
  const int64_t tiles = row_tiles(stored_rows(p.gated, p.N));
  return {static_cast<const std::byte*>(p.weight),
          static_cast<int>(tiles),
          static_cast<int>(col_tiles(p.dtype, p.K)),
          static_cast<int>(linear_run_columns(p.K) / kHopperColumns),
          0,
          rows_aligned(p.residual, p.residual_stride, p.y_dtype),
          rows_aligned(p.y, p.y_stride, p.y_dtype),
          {static_cast<int>(blocks_of(tiles, kHopperRows / kTileRows)), 0, 0},
          linear_output(p)};
}

}  // namespace kvasir::cuda
