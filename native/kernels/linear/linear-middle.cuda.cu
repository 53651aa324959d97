#include "kernels/linear/linear-middle.cuh"

namespace kvasir::cuda {

namespace {

int64_t ceil_divide(int64_t a, int64_t b) { return (a + b - 1) / b; }

struct Split {
  int64_t row_blocks;  // of kN stored rows
  int64_t block_runs;  // of a block
  int64_t runs;

  int64_t column_blocks() const { return ceil_divide(runs, block_runs); }
  int64_t parts() const { return 1 + runs - block_runs; }
};

template <class Shape>
Split split_of(const Linear& p, int64_t block_runs) {
  return {ceil_divide(stored_rows(p.gated, p.N), Shape::kN), block_runs, linear_runs(p.K)};
}

template <class Shape>
int64_t sums_bytes(const Linear& p, const Split& split) {
  return split.column_blocks() == 1 ? 0 : split.row_blocks * split.parts() * p.M * Shape::kN * 4;
}

// Estimate of the time in clocks, for choosing. Each multiprocessor has its share of the bytes that memory and
// the second-level cache give in a clock (an H100's 3.35 and 5.5 TB/s), and takes in so many itself.
template <class Shape>
int64_t middle_clocks(const Linear& p, const Split& split, const Execution& e) {
  constexpr int64_t kMemory = 16, kSecondLevel = 26, kTaken = 64, kStart = 1000;
  const int64_t weights = split.row_blocks * Shape::kN * p.K * 2, x = split.row_blocks * p.M * p.K * 2;
  const int64_t sums = sums_bytes<Shape>(p, split), blocks = split.row_blocks * split.column_blocks();
  const int64_t each = ceil_divide(blocks, e.multiprocessors);  // blocks of the busiest multiprocessor
  int64_t clocks = weights / (kMemory * e.multiprocessors);
  const auto at_least = [&](int64_t other) { clocks = clocks < other ? other : clocks; };
  at_least((weights + x + 2 * sums) / (kSecondLevel * e.multiprocessors));
  at_least(each * ((weights + x) / blocks) / kTaken);
  clocks += ceil_divide(each, Shape::kResidentBlocks) * kStart;
  return sums == 0 ? clocks : clocks + sums / split.row_blocks / kTaken + kStart;
}

template <class Shape>
Split best_split(const Linear& p, const Execution& e) {
  Split best = split_of<Shape>(p, linear_runs(p.K));
  for (int64_t block_runs = best.runs - 1; block_runs >= 1; block_runs--) {
    const Split split = split_of<Shape>(p, block_runs);
    if (sums_bytes<Shape>(p, split) > kLinearCudaMaxSumsBytes || split.row_blocks > kNumCounters) break;
    if (middle_clocks<Shape>(p, split, e) < middle_clocks<Shape>(p, best, e)) best = split;
  }
  return best;
}

template <class Shape>
void launch_middle(const Linear& p, const Split& split, Execution& e) {
  using T = typename Shape::T;
  MiddlePlan plan{};
  plan.weight = static_cast<const char*>(p.weight);
  plan.x = p.x;
  plan.x_stride = p.x_stride;
  plan.row_tiles = static_cast<int>(row_tiles(stored_rows(p.gated, p.N)));
  plan.tiles = static_cast<int>(col_tiles(p.weight_dtype, p.K));
  plan.row_tile_bytes = plan.tiles * kTileBytes;
  plan.runs = static_cast<int>(split.runs);
  plan.run_tiles = static_cast<int>(linear_run_columns(p.K) / tile_cols(p.weight_dtype));
  plan.block_runs = static_cast<int>(split.block_runs);
  plan.K = static_cast<int>(p.K);
  plan.sums = reinterpret_cast<float*>(e.scratch);
  plan.arrived = e.counters;
  plan.aligned = is_aligned(p.x) && p.x_stride * static_cast<int64_t>(sizeof(T)) % 16 == 0;
  const dim3 grid(static_cast<unsigned>(split.row_blocks), static_cast<unsigned>(split.column_blocks()));
  launch(e, linear_middle_kernel<Shape>, {grid, dim3(Shape::kThreads), Shape::kSharedBytes}, plan,
         linear_output(p));
}

template <class T, int kM>
void launch_rows(const Linear& p, Execution& e) {
  using Narrow = MiddleShape<T, kM, 64>;
  using Wide = MiddleShape<T, kM, 128>;
  const Split narrow = best_split<Narrow>(p, e), wide = best_split<Wide>(p, e);
  if (middle_clocks<Wide>(p, wide, e) < middle_clocks<Narrow>(p, narrow, e))
    return launch_middle<Wide>(p, wide, e);
  launch_middle<Narrow>(p, narrow, e);
}

}  // namespace

void linear_middle(const Linear& p, Execution& e) {
  with_half_type(p.dtype, [&](auto t) {
    using T = decltype(t);
    if (p.M <= 16) return launch_rows<T, 16>(p, e);
    if (p.M <= 32) return launch_rows<T, 32>(p, e);
    if (p.M <= 64) return launch_rows<T, 64>(p, e);
    return launch_rows<T, 128>(p, e);
  });
}

}  // namespace kvasir::cuda
