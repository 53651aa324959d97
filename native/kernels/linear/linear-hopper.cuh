#pragma once

// Linear layers on Hopper, by wgmma and the copy engine: of many rows, and of some, for which warps of their own
// (linear-middle.cuh) take several times as long.
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
// Where tiles are fewer than multiprocessors, blocks share them: each takes some of the runs of columns (linear_runs)
// and leaves their sums in device memory, as its registers have them. The last one to arrive adds them in the order of
// the runs, and finishes the tile; its movers bring the residual meanwhile.
//
// The weights of the first stages are asked for before the kernel's predecessor has ended.
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

  // Of the tile: what its first block leaves, and each run of the others.
  __device__ __forceinline__ int parts() const { return 1 + this->p.runs - this->p.split_runs; }
  __device__ __forceinline__ float4* left(int tile, int part) const {
    return this->p.sums + ((static_cast<int64_t>(tile) * parts() + part) * 2 + warpgroup) * (kTokens * 16) +
           threadIdx.x % 128;
  }
  __device__ __forceinline__ void leave(const float (&sums)[kTokens / 2], int tile, int part) const {
    float4* to = left(tile, part);
#pragma unroll
    for (int i = 0; i < kTokens / 8; i++)
      to[i * 128] = make_float4(sums[4 * i], sums[4 * i + 1], sums[4 * i + 2], sums[4 * i + 3]);
  }

  // Whether all blocks of the tile have left their sums: true for the last one alone, which then sees them.
  __device__ __forceinline__ bool arrive_last(int tile) const {
    const bool speaks = threadIdx.x % 128 == 0;
    __threadfence();
    ptx::barrier_sync(kSumsLeft + warpgroup, 128);
    if (speaks) {
      uint32_t* arrived = this->p.arrived + 2 * tile + warpgroup;
      const bool last = atomicAdd(arrived, 1u) == static_cast<uint32_t>(this->p.splits - 1);
      if (last) *arrived = 0;
      *this->finishes(warpgroup) = last ? 1 : 0;
      __threadfence();
    }
    ptx::barrier_sync(kSumsLeft + warpgroup, 128);
    ptx::barrier_arrive(kDecided + warpgroup, kPlaceThreads);
    return *this->finishes(warpgroup) != 0;
  }

  // Two parts are on their way together.
  __device__ __forceinline__ void add_parts(float (&totals)[kTokens / 2], int tile) const {
#pragma unroll 2
    for (int part = 0; part < parts(); part++) {
      const float4* from = left(tile, part);
#pragma unroll
      for (int i = 0; i < kTokens / 8; i++) {
        const float4 v = from[i * 128];
        totals[4 * i] = sum(totals[4 * i], v.x);
        totals[4 * i + 1] = sum(totals[4 * i + 1], v.y);
        totals[4 * i + 2] = sum(totals[4 * i + 2], v.z);
        totals[4 * i + 3] = sum(totals[4 * i + 3], v.w);
      }
    }
  }

  static __device__ __forceinline__ void set(float (&registers)[kTokens / 2], float x) {
#pragma unroll
    for (int i = 0; i < kTokens / 2; i++) registers[i] = x;
  }

  // The totals of a tile that blocks share, for the last of them; true there.
  __device__ __forceinline__ bool exchange(float (&totals)[kTokens / 2],
                                           const typename Block::Item& item) const {
    if (item.split == 0) leave(totals, item.number, 0);
    if (!arrive_last(item.number)) return false;
    set(totals, -0.0f);
    add_parts(totals, item.number);
    return true;
  }

  __device__ void run() const {
    Position at;
    this->for_each_item([&](const typename Block::Item& item) {
      const HopperOutputs<T, Y, kTokens> outputs(this->p, item.tile, warpgroup,
                                                 static_cast<int>(threadIdx.x % 128));
      float sums[kTokens / 2], totals[kTokens / 2];
      set(sums, 0.0f);     // else the compiler keeps those of the tile before until here
      set(totals, -0.0f);  // -0 + s is s for every s
      int part = 1 + (item.split - 1) * this->p.split_runs;  // of the next run, where it is left
      for (int left = item.last_block - item.first_block; left > 0; left -= this->p.run_blocks, part++) {
        multiply(sums, left < this->p.run_blocks ? left : this->p.run_blocks, at);
        if (this->shares_tiles() && item.split > 0) {
          leave(sums, item.number, part);
        } else {
#pragma unroll
          for (int i = 0; i < kTokens / 2; i++) totals[i] = sum(totals[i], sums[i]);
        }
      }
      bool finishes = true;
      if (this->shares_tiles()) finishes = exchange(totals, item);
      ptx::barrier_sync(kPlaceReady + warpgroup, kPlaceThreads);
      if (finishes) outputs.finish(totals);
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
    if (threadIdx.x == 0) HopperProducer<T, Y, kTokens>{{p}}.run(&x);
    if (threadIdx.x >= 32) HopperMover<T, Y, kTokens>{{p}}.run();
  } else {
    ptx::registers_up<232>();
    HopperMultiplier<T, Y, kTokens>{{p}, warpgroup - 1}.run();
  }
}

// How a layer is cut: tiles of so many tokens, shared by so many blocks.
struct HopperCut {
  int tokens, split_runs;
};

inline int64_t hopper_splits(const HopperProblem& problem, const HopperCut& cut) {
  return blocks_of(problem.runs, cut.split_runs);
}
inline int64_t hopper_tiles(const Linear& p, const HopperProblem& problem, const HopperCut& cut) {
  return problem.order.row_blocks * blocks_of(p.M, cut.tokens);
}
inline int64_t hopper_part_bytes(const HopperCut& cut) { return int64_t{kHopperRows} * cut.tokens * 4; }
// Of what blocks leave of a tile.
inline int64_t hopper_left_bytes(const HopperProblem& problem, const HopperCut& cut) {
  return hopper_splits(problem, cut) == 1 ? 0 : (1 + problem.runs - cut.split_runs) * hopper_part_bytes(cut);
}

inline bool can_cut(const Linear& p, const HopperProblem& problem, const HopperCut& cut) {
  if (hopper_splits(problem, cut) == 1) return true;
  const int64_t tiles = hopper_tiles(p, problem, cut);
  return cut.tokens <= kHopperMaxSharedTokens && 2 * tiles <= kNumCounters &&
         tiles * hopper_left_bytes(problem, cut) <=
             linear_cuda_sums_bytes(p.M, stored_rows(p.gated, p.N), p.K);
}

// Estimate of a layer's time in clocks, for choosing: waves of blocks times what a block does, or reading the weights
// if that takes longer, and some of the other, as they do not overlap perfectly. For 16 columns each warpgroup reads its rows, 2 KiB, and all tokens from shared memory, where the
// copy engine has written both rows and the tokens, 128 bytes a clock; a multiprocessor takes in half as many. Sums are
// written and read back once all have come.
inline int64_t hopper_clocks(const Linear& p, const HopperProblem& problem, const HopperCut& cut,
                             int multiprocessors) {
  constexpr int64_t kMemory = 16, kTaken = 64, kShared = 128, kExchange = 2000;
  const int64_t items = hopper_tiles(p, problem, cut) * hopper_splits(problem, cut);
  const int64_t blocks =
      cut.split_runs < problem.runs ? cut.split_runs * problem.run_blocks : problem.k_blocks;
  const int64_t shared = 4 * (8192 + 96 * cut.tokens) / kShared,
                taken = (kHopperRows + cut.tokens) * kTileRowBytes / kTaken;
  const int64_t multiplied = blocks_of(items, multiprocessors) * blocks * (shared > taken ? shared : taken);
  const int64_t read =
      int64_t{problem.row_tiles} * problem.k_blocks * kTileBytes / (kMemory * multiprocessors);
  const int64_t left = hopper_left_bytes(problem, cut);
  const int64_t longer = multiplied > read ? multiplied : read, shorter = multiplied + read - longer;
  return longer + shorter / 4 + (left == 0 ? 0 : kExchange + left / kTaken);
}

template <class T, class Y, int kTokens>
void launch_hopper(const Linear& p, HopperProblem problem, int split_runs, Execution& e) {
  problem.order.token_blocks = static_cast<int>(blocks_of(p.M, kTokens));
  problem.order.group = kTokens > 64 ? 12 : 8;  // 132 tiles at a time have about as many rows as tokens
  problem.tiles = problem.order.row_blocks * problem.order.token_blocks;
  problem.split_runs = split_runs;
  problem.splits = static_cast<int>(blocks_of(problem.runs, split_runs));
  const TensorMap x =
      ptx::tensor_map(p.dtype, p.x, p.M, p.K, p.x_stride * size_of(p.dtype), kTokens, kHopperColumns);
  const int items = problem.tiles * problem.splits;
  const int blocks = items < e.multiprocessors ? items : e.multiprocessors;
  launch(e, linear_hopper_kernel<T, Y, kTokens>,
         {dim3(static_cast<unsigned>(blocks)), dim3(kHopperThreads), HopperTile<T, Y, kTokens>::kSharedBytes},
         problem, x);
}

template <class T, class Y, int... kTokens>
void launch_fastest(const Linear& p, const HopperProblem& problem, Execution& e) {
  HopperCut best{0, problem.runs};
  for (const int tokens : {kTokens...}) {
    for (int split_runs = problem.runs; split_runs >= 1; split_runs--) {
      const HopperCut cut{tokens, split_runs};
      if (!can_cut(p, problem, cut)) continue;
      const auto clocks = [&](const HopperCut& c) { return hopper_clocks(p, problem, c, e.multiprocessors); };
      if (best.tokens == 0 || clocks(cut) < clocks(best)) best = cut;
    }
  }
  ((kTokens == best.tokens ? launch_hopper<T, Y, kTokens>(p, problem, best.split_runs, e) : void()), ...);
}

inline bool rows_aligned(const void* p, int64_t stride, DType dtype) {
  return reinterpret_cast<uintptr_t>(p) % 16 == 0 && stride * size_of(dtype) % 16 == 0;
}

inline HopperProblem hopper_problem(const Linear& p, const Execution& e) {
  const int64_t tiles = row_tiles(stored_rows(p.gated, p.N));
  HopperProblem problem{};
  problem.weight = static_cast<const std::byte*>(p.weight);
  problem.row_tiles = static_cast<int>(tiles);
  problem.k_blocks = static_cast<int>(col_tiles(p.dtype, p.K));
  problem.run_blocks = static_cast<int>(linear_run_columns(p.K) / kHopperColumns);
  problem.runs = static_cast<int>(linear_runs(p.K));
  problem.sums = reinterpret_cast<float4*>(e.scratch);
  problem.arrived = e.counters;
  problem.residual_aligned = rows_aligned(p.residual, p.residual_stride, p.y_dtype);
  problem.y_aligned = rows_aligned(p.y, p.y_stride, p.y_dtype);
  problem.order.row_blocks = static_cast<int>(blocks_of(tiles, kHopperRows / kTileRows));
  problem.out = linear_output(p);
  return problem;
}

}  // namespace kvasir::cuda
