#pragma once

// A linear layer of few rows: the weights are a stream from memory, read once, and the kernel is as fast as
// that.
//
// A team (linear-teams.cuh: a warp; for f32 8 lanes) owns one group of 8 or 16 stored rows and one run of
// columns (linear_runs). The runs of a group are teams of the same block, and a block takes group after group
// (or, side by side, two or four at a time), gridDim.x apart. Each team has a ring of pieces in shared memory
// and never lets it run empty: it asks for weights of its next group while it multiplies those of this one,
// and for the first ones before the kernel's predecessor has ended. All of x is in shared memory as well.
//
// When the teams of a group are through, their sums meet in shared memory, are added in the order of the
// runs, and finished, four outputs to a thread. There are two sets of sums, so that fast teams can go on.
//
// Bytes moved: the weights once; x once for each block, from the second-level cache; y and residual once.

#include "device/cuda/cuda.h"
#include "kernels/linear/linear-epilogue.cuh"
#include "kernels/linear/linear-input.cuh"
#include "kernels/linear/linear-many-rows.cuh"
#include "kernels/linear/linear-teams.cuh"
#include "kernels/linear/linear-variants.cuh"
#include "types/tiles.h"

namespace kvasir::cuda {

constexpr int kStreamMaxThreads = 256;

template <class Team>
constexpr int kPieceBytes = Team::kStoredRows * Team::kLineBytes;
template <class Team>
constexpr int kTeamTileBytes = static_cast<int>(kTileRows) * Team::kLineBytes;
template <class Team>
constexpr int kRingBytes = Team::kRingPieces * kPieceBytes<Team>;

struct StreamPlan {
  const char* weight;
  int64_t row_tile_bytes;  // of 64 rows of the matrix
  int groups;              // of stored rows
  int items;               // what a block takes at a time,
  int item_groups;         // so many groups
  int runs, run_tiles;
  int tiles;              // of columns
  int K, columns, pitch;  // of x, see InputRows
  // Offsets in shared memory; the ring is at its beginning.
  int x, parameters, sums, shared_bytes;
};

// The weights of one team, in the order in which it needs them.
template <class Team>
class WeightStream {
 public:
  __device__ __forceinline__ WeightStream(const StreamPlan& plan, int group, int run, int lane, int ring)
      : plan_(plan),
        group_(group),
        first_(run * plan.run_tiles),
        tiles_(plan.tiles - first_ < plan.run_tiles ? plan.tiles - first_ : plan.run_tiles),
        lane_bytes_(lane * 16),
        ring_(ring) {
    find();
#pragma unroll
    for (int i = 0; i < Team::kRingPieces; i++) fetch();
  }

  // Of the run, and its first column.
  __device__ __forceinline__ int tiles() const { return tiles_; }
  __device__ __forceinline__ int column() const { return first_ * Team::kColumns; }

  // Waits for the next piece.
  __device__ __forceinline__ const char* take() const {
    ptx::wait_for_copies<Team::kRingPieces - 1>();
    __syncwarp();
    return dynamic_shared<char>() + ring_ + slot_ * kPieceBytes<Team>;
  }

  // Fills its place again.
  __device__ __forceinline__ void fetch() {
    if (exists_ && tile_ < tiles_) {
      const uint32_t to =
          ptx::shared_address(dynamic_shared<char>()) + ring_ + slot_ * kPieceBytes<Team> + lane_bytes_;
#pragma unroll
      for (int i = 0; i < kPieceBytes<Team>; i += Team::kLanes * 16)
        if (i + Team::kLanes * 16 <= kPieceBytes<Team> || i + lane_bytes_ < kPieceBytes<Team>)
          ptx::copy_async(to + i, from_ + i);
    }
    ptx::commit_copies();
    from_ += kTeamTileBytes<Team>;
    slot_ = slot_ + 1 == Team::kRingPieces ? 0 : slot_ + 1;
    if (++tile_ == plan_.run_tiles) {
      tile_ = 0;
      item_ += gridDim.x;
      find();
    }
  }

 private:
  static constexpr unsigned kRows = static_cast<unsigned>(kTileRows);

  // The beginning of the run in the team's group of item_.
  __device__ __forceinline__ void find() {
    const unsigned group = item_ * plan_.item_groups + group_, row = group * Team::kStoredRows;
    exists_ = group < static_cast<unsigned>(plan_.groups);
    from_ = plan_.weight + row / kRows * plan_.row_tile_bytes + row % kRows * Team::kLineBytes +
            first_ * kTeamTileBytes<Team> + lane_bytes_;
  }

  const StreamPlan& plan_;
  int group_, first_, tiles_, lane_bytes_, ring_;
  unsigned item_ = blockIdx.x;
  int tile_ = 0, slot_ = 0;  // of the next piece to fetch
  bool exists_ = false;
  const char* from_ = nullptr;
};

template <class Team>
__global__ void __launch_bounds__(kStreamMaxThreads, Team::kResidentBlocks)
    linear_stream_kernel(const __grid_constant__ StreamPlan plan, const __grid_constant__ LinearInput input,
                         const __grid_constant__ LinearOutput out) {
  using T = typename Team::T;
  ptx::let_successor_start();
  char* shared = dynamic_shared<char>();
  const int index = static_cast<int>(threadIdx.x) / Team::kLanes,
            lane = static_cast<int>(threadIdx.x) % Team::kLanes;
  const int run = index % plan.runs, group = index / plan.runs;
  WeightStream<Team> weights(plan, group, run, lane, index * kRingBytes<Team>);

  const int m = static_cast<int>(blockIdx.y) * Team::kMaxRows;
  const int count = out.M - m < Team::kMaxRows ? out.M - m : Team::kMaxRows;
  const InputRows<T> x{reinterpret_cast<T*>(shared + plan.x), plan.pitch, count, plan.K, plan.columns};
  float* parameters = reinterpret_cast<float*>(shared + plan.parameters);
  if (input.norm != InputNorm::kNone) copy_norm_parameters(input, plan.K, plan.columns, parameters);
  ptx::wait_for_predecessor();
  load_input(input, m, x, parameters);

  Team team({x.rows, x.pitch, count}, lane);
  OutputBlock block{m, count, 0, plan.item_groups * Team::kStoredRows};
  PartialSums sums{reinterpret_cast<float*>(shared + plan.sums), plan.runs, count * block.rows, block.rows};
  int other = sums.step * plan.runs;  // from these sums to the other set
#pragma unroll 1
  for (int item = static_cast<int>(blockIdx.x); item < plan.items; item += static_cast<int>(gridDim.x)) {
    block.row = item * block.rows;
    const Addends early = load_addends<T>(out, block, quad_of(out, block, static_cast<int>(threadIdx.x)));
    team.begin();
#pragma unroll 1
    for (int t = 0; t < plan.run_tiles; t++) {
      const char* piece = weights.take();
      if (t < weights.tiles()) team.multiply(piece, weights.column() + t * Team::kColumns);
      __syncwarp();
      weights.fetch();
    }
    team.store(const_cast<float*>(sums.sums) + run * sums.step + group * Team::kStoredRows, sums.pitch, count,
               lane);
    __syncthreads();
    finish_block<T, 2>(out, block, sums, early);
    sums.sums += other;
    other = -other;
  }
}

}  // namespace kvasir::cuda
