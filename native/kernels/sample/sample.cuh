#pragma once

// Several blocks share a row, one launch does all. A warp takes windows of 256 logits: it reads them once, into
// registers, and leaves their largest, the sums of exponentials relative to it, and the largest of every 32. The block
// that comes last puts the windows together, and goes on alone:
//   - temperature 0: has its token.
//   - temperature only: finds the window by the windows' sums, then reads that again.
//   - top-k, typical, top-p, min-p: finds a logit below which nothing can be kept: where k of the maxima, or maxima of the
//     weight that is wanted, reach it, as many tokens do. Then reads the windows that reach it, and collects the
//     candidates. Where they are more than 4096, every further pass reads the row.
// Each warp works on its windows alone and everything is put together in the order of windows: numbers do not depend
// on how many blocks a row has.
//
// Where tokens are chosen from other logits than the model's, both matrices are read.
//
// A logit moves once; a window that matters up to three times; all of them four to twelve times more where thousands of
// candidates are left. 39 KiB of shared memory.

#include "kernels/sample/rules.cuh"
#include "kernels/sample/typical.cuh"
#include "kernels/sample/windows.cuh"

namespace kvasir::cuda::sampling {

template <class T>
__device__ __forceinline__ void reduce_window(const Row& row, const Rules& rules, const Tokens<T>& tokens,
                                              int w) {
  const WindowPart part = read_window(row, tokens, w, rules.filter());
  const float reference = reference_of(part.largest);
  if (row.plain_largest == nullptr) {
    const double plain = sum_of_exponentials(part.x, reference);
    if (lane() == 0) row.plain[w] = plain;
  }
  if (rules.greedy && row.plain_largest == nullptr) return;
  const Softmax softmax{reference, rules.inverse};
  double sum = 0;
#pragma unroll
  for (int j = 0; j < kEach; j++) sum += softmax(part.x[j]);
  sum = sum_lanes(sum);
  if (lane() == 0) row.sums[w] = sum;
  if (rules.typical()) reduce_distances(row, softmax, part.x, w);
}

// The same for two matrices.
template <class T>
__device__ __forceinline__ void reduce_windows(const Row& row, const Rules& rules,
                                               const Tokens<float>& tokens, const Tokens<T>& logits, int w) {
  reduce_plain(row, logits, w);
  if (rules.forced < 0) reduce_window(row, rules, tokens, w);
}

// Makes the windows' sums relative to the row's largest, and adds them up.
__device__ __forceinline__ void combine_windows(Row& row, const Rules& rules, uint64_t best) {
  row.first_largest = id_of(best);
  row.softmax = {logit_of(best), rules.inverse};
  if (rules.greedy && row.plain_largest == nullptr) return;
  double sum = 0, distances = 0;
  for_each_in_chunk(row.windows, [&](int w) {
    const float largest = logit_of(row.best[w]);
    const float scale = row.softmax(largest);
    // Every token of the window is that much farther from the row's largest.
    if (rules.typical() && scale > 0)
      distances += scale * (row.distances[w] + row.sums[w] * distance_of(row.softmax, largest));
    row.sums[w] *= scale;
    sum += row.sums[w];
  });
  row.sum = scan_block(sum).total;
  if (rules.typical()) row.distance_sum = scan_block(distances).total;
}

// The logit below which no token can be kept, or less than that.
__device__ __forceinline__ float candidate_bound(const Row& row, const Rules& rules) {
  double smallest = 0;  // probability, over that of the largest
  // All the tokens below this together have less than 1 - top_p, or 1 - typical_p.
  if (rules.top_k == 0)
    smallest = (1.0 - (rules.typical() ? rules.typical_p : rules.top_p)) * row.sum / row.V;
  // top_p counts what top_k keeps, whatever min_p thinks of it, and typical_p may drop what min_p is measured by.
  if (!rules.typical() && (rules.top_k == 0 || !(rules.top_p < 1)) && rules.min_p > smallest)
    smallest = rules.min_p;
  float bound = -FLT_MAX;  // a logit of -infinity is never chosen
  if (smallest > 0) {
    float distance = -logf(static_cast<float>(smallest));
    // What is twice as far as the mean is less typical than all that is nearer.
    if (rules.typical()) distance = fmaxf(distance, static_cast<float>(2 * row.distance_sum / row.sum));
    // The margin covers the errors of the exponentials many times.
    bound = fmaxf(bound, row.softmax.largest - (distance + 0.01f) / row.softmax.inverse);
  }
  const bool counting = rules.top_k > 0;
  if (!counting && (rules.typical() || !(rules.top_p < 1))) return bound;
  constexpr int kEnough = 32;
  const Interval in =
      narrow(Maxima{row.maxima, row.windows * kGroups}, bound, Cut{bound, kNoId}, row.softmax.largest,
             counting ? nullptr : &row.softmax, counting ? rules.top_k : rules.top_p * row.sum, kEnough);
  return in.reached ? from_order_key(in.low) : bound;
}

template <class T>
__device__ __forceinline__ int draw_filtered(const Row& row, const Rules& rules, const Tokens<T>& all,
                                             double uniform) {
  const float bound = candidate_bound(row, rules);
  const Tokens<T> tokens = collect(row, all, bound);
  Cut cut{bound, kNoId};
  if (rules.top_k > 0) cut = find_cut(row, tokens, cut, cut, nullptr, rules.top_k);
  if (rules.typical()) return draw_typical(row, rules, tokens, cut, uniform);
  if (rules.top_p < 1) {
    const double total = rules.top_k > 0 ? add_up(row, tokens, Kept<Cut>{row.softmax, cut, 0}) : row.sum;
    cut = find_cut(row, tokens, cut, cut, &row.softmax, rules.top_p * total);
  }
  return draw(row, tokens, Kept<Cut>{row.softmax, cut, rules.min_p}, uniform);
}

template <class T>
__device__ __forceinline__ int choose(const Row& row, const Rules& rules, const Tokens<T>& all,
                                      double uniform) {
  if (rules.greedy) return row.first_largest;
  if (rules.filter()) return draw_filtered(row, rules, all, uniform);
  return find_token(row, all, Kept<Cut>{row.softmax, {-FLT_MAX, kNoId}, 0}, uniform * row.sum);
}

// By a block that is left alone with the row.
__device__ __forceinline__ void write_choice(const Sample& p, int64_t r, const Row& row, int id,
                                             float logit) {
  if (threadIdx.x != 0) return;
  p.ids[r] = id;
  p.logprobs[r] = id >= 0 ? log_probability(row, logit) : __uint_as_float(0x7fc00000u);
}

template <class T>
__global__ void __launch_bounds__(kThreads, 2)
    sample_kernel(Sample p, std::byte* scratch, int64_t row_bytes, uint32_t* counters) {
  ptx::let_successor_start();
  ptx::wait_for_predecessor();
  const int64_t r = blockIdx.y;
  const int V = static_cast<int>(p.V);
  const Rules rules = rules_of<false>(p, r);
  Row row = row_in(scratch + r * row_bytes, V, false);
  const Tokens<T> all{static_cast<const T*>(p.logits) + r * p.logits_stride, V, false};
  const int warps = static_cast<int>(gridDim.x) * kWarps;
#pragma unroll 1
  for (int w = static_cast<int>(blockIdx.x) * kWarps + warp(); w < row.windows; w += warps)
    reduce_window(row, rules, all, w);
  if (!arrives_last(counters + r)) return;
  const uint64_t best = largest_of_windows(row);
  combine_plain(row, logit_of(best), [&](int w) { return logit_of(row.best[w]); });
  combine_windows(row, rules, best);
  const int id = is_usable(row) ? choose(row, rules, all, uniform_of(p, r)) : -1;
  write_choice(p, r, row, id, id >= 0 ? to_float(all.logits[id]) : 0);
}

// Tokens are chosen from other logits than the model's, or given.
template <class T>
__global__ void __launch_bounds__(kThreads, 2)
    sample_adjusted_kernel(Sample p, std::byte* scratch, int64_t row_bytes, uint32_t* counters) {
  ptx::let_successor_start();
  ptx::wait_for_predecessor();
  const int64_t r = blockIdx.y;
  const int V = static_cast<int>(p.V);
  const Rules rules = rules_of<true>(p, r);
  Row row = row_in(scratch + r * row_bytes, V, true);
  const Tokens<T> logits{static_cast<const T*>(p.logits) + r * p.logits_stride, V, false};
  const Tokens<float> all{p.adjusted + r * p.adjusted_stride, V, false};
  const int warps = static_cast<int>(gridDim.x) * kWarps;
#pragma unroll 1
  for (int w = static_cast<int>(blockIdx.x) * kWarps + warp(); w < row.windows; w += warps)
    reduce_windows(row, rules, all, logits, w);
  if (!arrives_last(counters + r)) return;
  combine_plain(row);
  int id = is_usable(row) ? rules.forced : -1;
  if (is_usable(row) && id < 0) {
    combine_windows(row, rules, largest_of_windows(row));
    // NaN, as with the other matrix.
    if (row.sum > 0) id = choose(row, rules, all, uniform_of(p, r));
  }
  write_choice(p, r, row, id, id >= 0 ? to_float(logits.logits[id]) : 0);
}

template <class T>
void launch_sample(const Sample& p, Execution& e) {
  if (p.R == 0) return;
  const bool adjusted = p.adjusted != nullptr;
  launch(e, adjusted ? sample_adjusted_kernel<T> : sample_kernel<T>, shape_of_rows(p.R, p.V, e), p, e.scratch,
         sample_cuda_scratch_bytes(1, p.V, adjusted), e.counters);
}

}  // namespace kvasir::cuda::sampling
