#pragma once

// How linear-stream.cuh and linear-row.cuh are launched, by teams of any kind.

#include "kernels/linear/linear-row.cuh"

namespace kvasir::cuda {

// More of x than this takes too long to load before the first product; other kernels then do better.
inline constexpr int64_t kStreamMaxInputBytes = 72 * 1024;

// Shared memory of the norms' statistics, rounded up, and what the device reserves of each block, which is
// also what a multiprocessor has more than one block can have.
inline constexpr int64_t kStaticBytes = 1024, kReservedBytes = 1024;

// Where things lie in shared memory. False where they do not fit.
template <class Team>
bool place_stream(const Linear& p, const LinearInput& input, const Execution& e, StreamPlan& plan) {
  using T = typename Team::T;
  const int64_t rows = p.M < Team::kMaxRows ? p.M : Team::kMaxRows;
  const int64_t columns = (p.K + 63) / 64 * 64, row_bytes = columns * static_cast<int64_t>(sizeof(T)) + 16;
  const int64_t x = static_cast<int64_t>(kRingBytes<Team>) * plan.runs * plan.item_groups;
  const int64_t parameters = x + rows * row_bytes;
  const int64_t sums = parameters + (input.norm == InputNorm::kNone ? 0 : 2 * columns * 4);
  const int64_t bytes = sums + 2 * plan.runs * rows * plan.item_groups * Team::kStoredRows * 4;
  if (rows * row_bytes > kStreamMaxInputBytes || bytes + kStaticBytes > e.shared_bytes) return false;
  plan.K = static_cast<int>(p.K);
  plan.columns = static_cast<int>(columns);
  plan.pitch = static_cast<int>(row_bytes / static_cast<int64_t>(sizeof(T)));
  plan.x = static_cast<int>(x);
  plan.parameters = static_cast<int>(parameters);
  plan.sums = static_cast<int>(sums);
  plan.shared_bytes = static_cast<int>(bytes);
  return true;
}

// The same for a single row of whole, aligned pieces.
template <class Team>
bool place_row(const Linear& p, const LinearInput& input, const Execution& e, StreamPlan& plan) {
  const bool norm = input.norm != InputNorm::kNone;
  const int64_t run_columns = plan.run_tiles * Team::kColumns;
  if (p.M != 1 || p.K % kGroup != 0 || !is_aligned(input.x) || run_columns > kRowMaxOwn * 256) return false;
  if (norm && (p.K > kRowMaxNormColumns || !is_aligned(input.norm_weight) || !is_aligned(input.norm_bias)))
    return false;
  const int64_t warps = plan.runs * plan.item_groups, x = static_cast<int64_t>(kRingBytes<Team>) * warps;
  const int64_t sums = x + warps * run_columns * 2, bytes = sums + 2 * warps * Team::kStoredRows * 4;
  if (bytes + kStaticBytes > e.shared_bytes) return false;
  plan.K = static_cast<int>(p.K);
  plan.x = static_cast<int>(x);
  plan.sums = static_cast<int>(sums);
  plan.shared_bytes = static_cast<int>(bytes);
  return true;
}

// Blocks for the items, in each of `layers` layers: no more than run at the same time, so many to a
// multiprocessor that none has more items than it must, and that 128 KiB of weights are under way.
template <class Team>
unsigned stream_blocks(const StreamPlan& plan, int64_t layers, int threads, int resident_blocks,
                       const Execution& e) {
  const int64_t by_memory =
      (e.shared_bytes + kReservedBytes) / (plan.shared_bytes + kStaticBytes + kReservedBytes);
  const int64_t by_registers = resident_blocks * kStreamMaxThreads / threads;
  const int64_t items = plan.items, ring_bytes = plan.x;
  int64_t best = 0, least = 0;
  for (int64_t resident = 1; resident <= 16 && resident <= by_memory && resident <= by_registers;
       resident++) {
    const int64_t places =
        resident * e.multiprocessors / layers > 0 ? resident * e.multiprocessors / layers : 1;
    const int64_t rounds = (items + places - 1) / places, blocks = (items + rounds - 1) / rounds;
    const int64_t load = rounds * ((blocks * layers + e.multiprocessors - 1) / e.multiprocessors);
    if (best != 0 && (load > least || (load == least && resident * ring_bytes > 128 * 1024))) continue;
    best = blocks;
    least = load;
  }
  return static_cast<unsigned>(best);
}

template <class Team, bool kNorm>
void launch_row(const Linear& p, const LinearInput& input, const StreamPlan& plan, int threads,
                Execution& e) {
  const unsigned blocks = stream_blocks<Team>(plan, 1, threads, kRowResidentBlocks<Team, kNorm>, e);
  launch(e, linear_row_kernel<Team, kNorm>,
         {dim3(blocks), dim3(static_cast<unsigned>(threads)), plan.shared_bytes}, plan, input,
         linear_output(p));
}

template <class Team>
bool launch_stream(const Linear& p, const LinearInput& input, Execution& e) {
  StreamPlan plan{};
  plan.weight = static_cast<const char*>(p.weight);
  plan.tiles = static_cast<int>(col_tiles(p.weight_dtype, p.K));
  plan.row_tile_bytes = plan.tiles * kTeamTileBytes<Team>;
  plan.runs = static_cast<int>(linear_runs(p.K));
  plan.run_tiles = static_cast<int>(linear_run_columns(p.K) / Team::kColumns);
  // Whole warps, and gates with their ups.
  plan.item_groups = 1;
  while (plan.item_groups * plan.runs * Team::kLanes % 32 != 0 ||
         (p.gated && plan.item_groups * Team::kStoredRows % 16 != 0))
    plan.item_groups *= 2;
  plan.groups = static_cast<int>((stored_rows(p.gated, p.N) + Team::kStoredRows - 1) / Team::kStoredRows);
  plan.items = (plan.groups + plan.item_groups - 1) / plan.item_groups;
  const int threads = plan.item_groups * plan.runs * Team::kLanes;
  if constexpr (Team::kLanes == 32 && Team::kMaxRows == 8) {
    if (place_row<Team>(p, input, e, plan)) {
      if (input.norm != InputNorm::kNone) {
        launch_row<Team, true>(p, input, plan, threads, e);
      } else {
        launch_row<Team, false>(p, input, plan, threads, e);
      }
      return true;
    }
  }
  if (!place_stream<Team>(p, input, e, plan)) return false;
  const int64_t layers = (p.M + Team::kMaxRows - 1) / Team::kMaxRows;
  const unsigned blocks = stream_blocks<Team>(plan, layers, threads, Team::kResidentBlocks, e);
  const LaunchShape shape{dim3(blocks, static_cast<unsigned>(layers)), dim3(static_cast<unsigned>(threads)),
                          plan.shared_bytes};
  launch(e, linear_stream_kernel<Team>, shape, plan, input, linear_output(p));
  return true;
}

}  // namespace kvasir::cuda
