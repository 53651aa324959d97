#pragma once

// What the blocks of a row leave to the one that comes last, which goes on alone; and how that finds the few tokens that
// reach a bound without reading the row again.

#include "kernels/sample/candidates.cuh"
#include "kernels/sample/row.cuh"

namespace kvasir::cuda::sampling {

// A lane's part of a window.
struct WindowPart {
  float x[kEach];
  float largest;  // of the window's logits
  uint64_t best;  // of the window, see pack_best
};

// Reads a window and finds its largest logit, and where it is asked for those of its groups. NaN is passed over; sums
// will show it.
template <class T>
__device__ __forceinline__ WindowPart read_window(const Row& row, const Tokens<T>& tokens, int w,
                                                  bool maxima) {
  WindowPart part;
  tokens.load(w, part.x);
  float largest = -kInfinity;
  int first = 0;
#pragma unroll
  for (int j = 0; j < kEach; j++) {
    if (!(part.x[j] > largest)) continue;
    largest = part.x[j];
    first = w * kWindow + 32 * j + lane();
  }
  part.best = largest_of_lanes(pack_best(largest, first));
  part.largest = logit_of(part.best);
  if (maxima) {
    float group = fmaxf(largest, __shfl_xor_sync(kAllLanes, largest, 8));
    group = fmaxf(group, __shfl_xor_sync(kAllLanes, group, 16));
    if (lane() < kGroups) row.maxima[w * kGroups + lane()] = group;
  }
  if (lane() == 0) row.best[w] = part.best;
  return part;
}

// Of -infinity alone, exponentials are 0.
__device__ __forceinline__ float reference_of(float largest) { return fmaxf(largest, -FLT_MAX); }

// The sum of e^(x - reference) of a window. Eight terms a lane: f32 is wide enough.
__device__ __forceinline__ double sum_of_exponentials(const float (&x)[kEach], float reference) {
  float sum = 0;
#pragma unroll
  for (int j = 0; j < kEach; j++) sum += exponential(x[j] - reference);
  return sum_lanes(sum);
}

// The same of the model's logits, where tokens are chosen from others.
template <class T>
__device__ __forceinline__ void reduce_plain(const Row& row, const Tokens<T>& logits, int w) {
  float x[kEach];
  logits.load(w, x);
  float largest = -kInfinity;
#pragma unroll
  for (int j = 0; j < kEach; j++) largest = fmaxf(largest, x[j]);
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2)
    largest = fmaxf(largest, __shfl_xor_sync(kAllLanes, largest, offset));
  const double sum = sum_of_exponentials(x, reference_of(largest));
  if (lane() != 0) return;
  row.plain[w] = sum;
  row.plain_largest[w] = largest;
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

// The largest of all windows' largest logits.
__device__ __forceinline__ uint64_t largest_of_windows(const Row& row) {
  uint64_t best = 0;
#pragma unroll 1
  for (int w = static_cast<int>(threadIdx.x); w < row.windows; w += kThreads)
    best = best < row.best[w] ? row.best[w] : best;
  return largest_of_block(best);
}

// Adds up the windows' sums, of which each is relative to largest_in(w), relative to `reference`.
template <class Largest>
__device__ __forceinline__ void combine_plain(Row& row, float reference, const Largest& largest_in) {
  row.plain_reference = reference;
  double plain = 0;
  for_each_in_chunk(row.windows,
                    [&](int w) { plain += row.plain[w] * exponential(largest_in(w) - reference); });
  row.plain_sum = scan_block(plain).total;
}

// The same for the model's logits, where tokens are chosen from others.
__device__ __forceinline__ void combine_plain(Row& row) {
  uint64_t best = 0;
#pragma unroll 1
  for (int w = static_cast<int>(threadIdx.x); w < row.windows; w += kThreads) {
    const uint64_t own = pack_best(row.plain_largest[w], 0);
    best = best < own ? own : best;
  }
  combine_plain(row, logit_of(largest_of_block(best)), [&](int w) { return row.plain_largest[w]; });
}

// NaN: through a NaN, infinity - infinity, or -infinity - -infinity.
__device__ __forceinline__ bool is_usable(const Row& row) { return row.plain_sum > 0; }

// Of the model's logits.
__device__ __forceinline__ float log_probability(const Row& row, float logit) {
  return static_cast<float>(static_cast<double>(logit) - row.plain_reference - log(row.plain_sum));
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

// Enough blocks that each warp has one window, but no more than the device runs at once.
inline LaunchShape shape_of_rows(int64_t R, int64_t V, const Execution& e) {
  constexpr int64_t kBlocksPerMultiprocessor = 2;
  const int64_t windows = (V + kWindow - 1) / kWindow;
  const int64_t useful = (windows + kWarps - 1) / kWarps;
  const int64_t share = kBlocksPerMultiprocessor * e.multiprocessors / R;
  const int64_t blocks = share < 1 ? 1 : share < useful ? share : useful;
  return {dim3(static_cast<unsigned>(blocks), static_cast<unsigned>(R)), dim3(kThreads)};
}

}  // namespace kvasir::cuda::sampling
