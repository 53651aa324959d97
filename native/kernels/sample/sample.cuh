#pragma once

// Several blocks share a row, one launch does all. A warp takes windows of 256 logits: it reads them once, into
// registers, and leaves their largest, the sums of exponentials relative to it, and the largest of every 32. The block
// that comes last puts the windows together, and goes on alone:
//   - temperature 0: has its token.
//   - temperature only: finds the window by the windows' sums, then reads that again.
//   - top-k, top-p, min-p: finds a logit below which nothing can be kept: where k of the maxima, or maxima of the
//     weight that is wanted, reach it, as many tokens do. Then reads the windows that reach it, and collects the
//     candidates. Where they are more than 4096, every further pass reads the row.
// Each warp works on its windows alone and everything is put together in the order of windows: numbers do not depend
// on how many blocks a row has.
//
// A logit moves once; a window that matters up to three times; all of them four to twelve times more where thousands of
// candidates are left. 39 KiB of shared memory.

#include "kernels/sample/candidates.cuh"
#include "kernels/sample/philox.cuh"
#include "kernels/sample/row.cuh"

namespace kvasir::cuda::sampling {

// How one row's token is chosen.
struct Rules {
  float inverse;  // 1 / temperature, finite and not 0: never NaN times a difference of logits
  int top_k;      // 0 for all
  float top_p, min_p;
  bool greedy;

  __device__ bool filter() const { return !greedy && (top_k > 0 || top_p < 1 || min_p > 0); }
};

__device__ __forceinline__ float clamp_to_normal(float x) {
  return x < FLT_MIN ? FLT_MIN : x < FLT_MAX ? x : FLT_MAX;
}

__device__ inline Rules rules_of(const Sample& p, int64_t r) {
  Rules rules{};
  const float temperature = p.temperature[r];
  const int top_k = p.top_k[r];
  rules.greedy = !(temperature > 0);
  rules.inverse = clamp_to_normal(1.0f / temperature);
  rules.top_k = top_k > 0 && top_k < p.V ? top_k : 0;
  rules.top_p = p.top_p[r];
  rules.min_p = p.min_p[r];
  return rules;
}

__device__ inline double uniform_of(const Sample& p, int64_t r) {
  return philox_uniform(static_cast<uint32_t>(p.counter[r]), static_cast<uint32_t>(p.seed[2 * r]),
                        static_cast<uint32_t>(p.seed[2 * r + 1]));
}

template <class T>
__device__ __forceinline__ void reduce_window(const Row& row, const Rules& rules, const Tokens<T>& tokens,
                                              int w) {
  float x[kEach];
  tokens.load(w, x);
  float largest = -kInfinity;  // NaN is passed over; the sums will show it
  int first = 0;
#pragma unroll
  for (int j = 0; j < kEach; j++) {
    if (!(x[j] > largest)) continue;
    largest = x[j];
    first = w * kWindow + 32 * j + lane();
  }
  const uint64_t best = largest_of_lanes(pack_best(largest, first));
  if (rules.filter()) {
    float group = fmaxf(largest, __shfl_xor_sync(kAllLanes, largest, 8));
    group = fmaxf(group, __shfl_xor_sync(kAllLanes, group, 16));
    if (lane() < kGroups) row.maxima[w * kGroups + lane()] = group;
  }
  // Of -infinity alone, exponentials are 0.
  const float reference = fmaxf(logit_of(best), -FLT_MAX);
  float plain = 0;  // eight terms: f32 is wide enough
#pragma unroll
  for (int j = 0; j < kEach; j++) plain += exponential(x[j] - reference);
  const double plain_sum = sum_lanes(plain);
  if (lane() == 0) row.best[w] = best;
  if (lane() == 0) row.plain[w] = plain_sum;
  if (rules.greedy) return;
  const Softmax softmax{reference, rules.inverse};
  double sum = 0;
#pragma unroll
  for (int j = 0; j < kEach; j++) sum += softmax(x[j]);
  sum = sum_lanes(sum);
  if (lane() == 0) row.sums[w] = sum;
}

// Of the gridDim.x blocks of a row, the last one to arrive. It sees what the others wrote.
__device__ inline bool arrives_last(uint32_t* counter) {
  Workspace& shared = workspace();
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) {
    shared.last = atomicAdd(counter, 1u) == gridDim.x - 1;
    if (shared.last) *counter = 0;
  }
  __syncthreads();
  __threadfence();
  return shared.last;
}

// Makes the windows' sums relative to the row's largest, and adds them up.
__device__ inline void combine_windows(Row& row, const Rules& rules) {
  uint64_t best = 0;
#pragma unroll 1
  for (int w = static_cast<int>(threadIdx.x); w < row.windows; w += kThreads)
    best = best < row.best[w] ? row.best[w] : best;
  best = largest_of_block(best);
  row.first_largest = id_of(best);
  row.softmax = {logit_of(best), rules.inverse};
  double plain = 0, sum = 0;
  for_each_in_chunk(row.windows, [&](int w) {
    const float largest = logit_of(row.best[w]);
    plain += row.plain[w] * exponential(largest - row.softmax.largest);
    if (rules.greedy) return;
    row.sums[w] *= row.softmax(largest);
    sum += row.sums[w];
  });
  row.plain_sum = scan_block(plain).total;
  if (!rules.greedy) row.sum = scan_block(sum).total;
}

// The largest logits of disjoint groups of tokens.
struct Maxima {
  const float* maxima;
  int count;
  __device__ int windows() const { return (count + kWindow - 1) / kWindow; }
  __device__ int id(int) const { return 0; }
  __device__ void load(int window, float (&x)[kEach]) const {
    const int begin = window * kWindow + lane();
#pragma unroll
    for (int j = 0; j < kEach; j++) x[j] = begin + 32 * j < count ? maxima[begin + 32 * j] : -kInfinity;
  }
};

// The logit below which no token can be kept, or less than that.
__device__ __forceinline__ float candidate_bound(const Row& row, const Rules& rules) {
  double smallest = 0;  // probability, over that of the largest
  // All the tokens below this together have less than 1 - top_p.
  if (rules.top_k == 0) smallest = (1.0 - rules.top_p) * row.sum / row.V;
  // top_p counts what top_k keeps, whatever min_p thinks of it.
  if ((rules.top_k == 0 || !(rules.top_p < 1)) && rules.min_p > smallest) smallest = rules.min_p;
  float bound = -FLT_MAX;  // a logit of -infinity is never chosen
  if (smallest > 0) {
    // The margin covers the errors of the exponentials many times.
    const float below = (logf(static_cast<float>(smallest)) - 0.01f) / row.softmax.inverse;
    bound = fmaxf(bound, row.softmax.largest + below);
  }
  if (rules.top_k == 0 && !(rules.top_p < 1)) return bound;
  constexpr int kEnough = 32;
  const bool counting = rules.top_k > 0;
  const Interval in =
      narrow(Maxima{row.maxima, row.windows * kGroups}, bound, Cut{bound, kNoId}, row.softmax.largest,
             counting ? nullptr : &row.softmax, counting ? rules.top_k : rules.top_p * row.sum, kEnough);
  return in.reached ? from_order_key(in.low) : bound;
}

// Calls body(w, x) for the windows that have a logit of at least `bound`: a warp's, one after the other.
template <class T, class Body>
__device__ __forceinline__ void for_each_reaching(const Row& row, const Tokens<T>& tokens, float bound,
                                                  const Body& body) {
#pragma unroll 1
  for (int first = warp(); first < row.windows; first += kThreads) {
    const int mine = first + lane() * kWarps;
    const bool reaches = mine < row.windows && logit_of(row.best[mine]) >= bound;
    for (uint32_t rest = __ballot_sync(kAllLanes, reaches); rest != 0; rest &= rest - 1) {
      const int w = first + (__ffs(static_cast<int>(rest)) - 1) * kWarps;
      float x[kEach];
      tokens.load(w, x);
      body(w, x);
    }
  }
}

// Turns the counts of candidates in windows into the counts of those before them; returns the count of all.
__device__ inline int add_up_counts(const Row& row, float bound) {
  int count = 0;
  for_each_in_chunk(row.windows, [&](int w) {
    if (logit_of(row.best[w]) >= bound) count += row.counts[w];
  });
  const Scan scan = scan_block(count);
  int before = static_cast<int>(scan.before);
  for_each_in_chunk(row.windows, [&](int w) {
    if (logit_of(row.best[w]) < bound) return;
    const int own = row.counts[w];
    row.counts[w] = before;
    before += own;
  });
  __syncthreads();
  return static_cast<int>(scan.total);
}

// The tokens of at least `bound`, or all where those are too many.
template <class T>
__device__ __forceinline__ Tokens<T> collect(const Row& row, const Tokens<T>& all, float bound) {
  for_each_reaching(row, all, bound, [&](int w, const float(&x)[kEach]) {
    int count = 0;
#pragma unroll
    for (int j = 0; j < kEach; j++) count += __popc(__ballot_sync(kAllLanes, x[j] >= bound));
    if (lane() == 0) row.counts[w] = count;
  });
  __syncthreads();
  const int count = add_up_counts(row, bound);
  if (count > kMostCollected) return all;
  Workspace& shared = workspace();
  for_each_reaching(row, all, bound, [&](int w, const float(&x)[kEach]) {
    int next = row.counts[w];
#pragma unroll
    for (int j = 0; j < kEach; j++) {
      const uint32_t taken = __ballot_sync(kAllLanes, x[j] >= bound);
      const int slot = next + __popc(taken & ((1u << lane()) - 1));
      if (x[j] >= bound) shared.logits[slot] = x[j];
      if (x[j] >= bound) shared.ids[slot] = w * kWindow + 32 * j + lane();
      next += __popc(taken);
    }
  });
  __syncthreads();
  return {all.logits, count, true};
}

template <class T>
__device__ __forceinline__ int draw_filtered(const Row& row, const Rules& rules, const Tokens<T>& all,
                                             double uniform) {
  const float bound = candidate_bound(row, rules);
  const Tokens<T> tokens = collect(row, all, bound);
  Cut cut{bound, kNoId};
  if (rules.top_k > 0) cut = find_cut(row, tokens, cut, nullptr, rules.top_k);
  if (rules.top_p < 1) {
    const double total = rules.top_k > 0 ? add_up(row, tokens, Kept{row.softmax, cut, 0}) : row.sum;
    cut = find_cut(row, tokens, cut, &row.softmax, rules.top_p * total);
  }
  const Kept kept{row.softmax, cut, rules.min_p};
  return find_token(row, tokens, kept, uniform * add_up(row, tokens, kept));
}

template <class T>
__device__ __forceinline__ int choose(const Row& row, const Rules& rules, const Tokens<T>& all,
                                      double uniform) {
  if (rules.greedy) return row.first_largest;
  if (rules.filter()) return draw_filtered(row, rules, all, uniform);
  return find_token(row, all, Kept{row.softmax, {-FLT_MAX, kNoId}, 0}, uniform * row.sum);
}

// Of the unchanged logits.
__device__ inline float log_probability(const Row& row, float logit) {
  return static_cast<float>(static_cast<double>(logit) - row.softmax.largest - log(row.plain_sum));
}

template <class T>
__global__ void __launch_bounds__(kThreads, 2)
    sample_kernel(Sample p, std::byte* scratch, int64_t row_bytes, uint32_t* counters) {
  ptx::let_successor_start();
  ptx::wait_for_predecessor();
  const int64_t r = blockIdx.y;
  const int V = static_cast<int>(p.V);
  const Rules rules = rules_of(p, r);
  Row row = row_in(scratch + r * row_bytes, V);
  const Tokens<T> all{static_cast<const T*>(p.logits) + r * p.logits_stride, V, false};
  const int warps = static_cast<int>(gridDim.x) * kWarps;
#pragma unroll 1
  for (int w = static_cast<int>(blockIdx.x) * kWarps + warp(); w < row.windows; w += warps)
    reduce_window(row, rules, all, w);
  if (!arrives_last(counters + r)) return;
  combine_windows(row, rules);
  // NaN: through a NaN, infinity - infinity, or -infinity - -infinity.
  const bool usable = row.plain_sum > 0;
  const int id = usable ? choose(row, rules, all, uniform_of(p, r)) : -1;
  if (threadIdx.x != 0) return;
  p.ids[r] = id;
  p.logprobs[r] = usable ? log_probability(row, to_float(all.logits[id])) : __uint_as_float(0x7fc00000u);
}

// Enough blocks that each warp has one window, but no more than the device runs at once.
template <class T>
void launch_sample(const Sample& p, Execution& e) {
  constexpr int64_t kBlocksPerMultiprocessor = 2;
  if (p.R == 0) return;
  const int64_t windows = (p.V + kWindow - 1) / kWindow;
  const int64_t useful = (windows + kWarps - 1) / kWarps;
  const int64_t share = kBlocksPerMultiprocessor * e.multiprocessors / p.R;
  const int64_t blocks = share < 1 ? 1 : share < useful ? share : useful;
  launch(e, sample_kernel<T>,
         {dim3(static_cast<unsigned>(blocks), static_cast<unsigned>(p.R)), dim3(kThreads)}, p, e.scratch,
         sample_cuda_scratch_bytes(1, p.V), e.counters);
}

}  // namespace kvasir::cuda::sampling
