#pragma once

// The tokens of a row that top-k, typical, top-p and min-p have to look at, where those cut them off, and the draw.
//
// Candidates are collected in shared memory where they are no more than 4096, else they stay where they are and every
// pass reads the row. Sums have a fixed order or are of integers: a row's token depends on nothing but the row.

#include "kernels/sample/row.cuh"

namespace kvasir::cuda::sampling {

// The last element of a list in descending order of logits, lower ids before higher ones.
struct Cut {
  float logit;
  int id;
  __device__ bool keeps(float x, int i) const { return x > logit || (x == logit && i <= id); }
};

// A list in descending order of logits.
struct ByLogit {
  __device__ float operator()(float logit) const { return logit; }
};

// What is kept weighs its probability.
template <class Keeps>
struct Kept {
  Softmax softmax;
  Keeps cut;
  float least;  // probability
  __device__ float operator()(float logit, int id) const {
    const float p = softmax(logit);
    return p >= least && cut.keeps(logit, id) ? p : 0.0f;
  }
};

// What is kept and has a certain logit weighs 1.
template <class Keeps>
struct Equal {
  float logit;
  Keeps cut;
  __device__ float operator()(float x, int id) const { return x == logit && cut.keeps(x, id) ? 1.0f : 0.0f; }
};

// Tokens in ascending order of id: a row, or what was collected of it.
template <class T>
struct Tokens {
  const T* logits;
  int count;
  bool collected;  // then they are in the workspace

  __device__ int windows() const { return (count + kWindow - 1) / kWindow; }
  __device__ int id(int index) const { return collected ? workspace().ids[index] : index; }
  __device__ float logit(int index) const {
    return index >= count ? -kInfinity : collected ? workspace().logits[index] : to_float(logits[index]);
  }
  // Beyond the end of the list are logits of -infinity.
  __device__ void load(int window, float (&x)[kEach]) const {
    const int begin = window * kWindow + lane();
    if (collected) {
#pragma unroll
      for (int j = 0; j < kEach; j++)
        x[j] = begin + 32 * j < count ? workspace().logits[begin + 32 * j] : -kInfinity;
    } else {
#pragma unroll
      for (int j = 0; j < kEach; j++)
        x[j] = begin + 32 * j < count ? to_float(logits[begin + 32 * j]) : -kInfinity;
    }
  }
};

// Calls body(logit, id) for the elements of a list that are this thread's, and some logits of -infinity.
template <class List, class Body>
__device__ __forceinline__ void for_each(const List& list, const Body& body) {
#pragma unroll 1
  for (int w = warp(); w < list.windows(); w += kWarps) {
    float x[kEach];
    list.load(w, x);
#pragma unroll
    for (int j = 0; j < kEach; j++) body(x[j], list.id(w * kWindow + 32 * j + lane()));
  }
}

// Weights in a histogram are integers, so that their sums do not depend on the order of additions: multiples of 2^-42,
// exact from 2^-18 on. 2^21 of them do not overflow.
constexpr float kWeightOne = 0x1p42f;

__device__ __forceinline__ void add_weight(Workspace& shared, uint32_t bucket, float weight) {
  const uint64_t units = static_cast<uint64_t>(weight * kWeightOne);
  const uint32_t low = static_cast<uint32_t>(units);
  const uint32_t before = atomicAdd(&shared.bucket_low[bucket], low);
  const uint32_t high = static_cast<uint32_t>(units >> 32) + (before + low < low);
  if (high != 0) atomicAdd(&shared.bucket_high[bucket], high);
}

__device__ __forceinline__ double weight_in(const Workspace& shared, int bucket) {
  const uint64_t units = uint64_t{shared.bucket_high[bucket]} << 32 | shared.bucket_low[bucket];
  return static_cast<double>(units) / kWeightOne;
}

// A histogram of the interval in 512 buckets; returns that in which the target is reached.
template <class List, class Keeps, class Order>
__device__ __forceinline__ Interval narrow_once(const List& list, const Interval& in, const Keeps& cut,
                                                const Softmax* weights, double target, const Order& order) {
  Workspace& shared = workspace();
  const int thread = static_cast<int>(threadIdx.x);
  const int leading = __clz(static_cast<int>(in.span));
  const int shift = leading < 23 ? 23 - leading : 0;  // span >> shift < 512
  shared.bucket_counts[thread] = 0;
  shared.bucket_low[thread] = 0;
  shared.bucket_high[thread] = 0;
  __syncthreads();
  for_each(list, [&](float logit, int id) {
    const uint32_t offset = order_key(order(logit)) - in.low;
    if (offset > in.span || !cut.keeps(logit, id)) return;
    atomicAdd(&shared.bucket_counts[offset >> shift], 1u);
    if (weights != nullptr) add_weight(shared, offset >> shift, (*weights)(logit));
  });
  __syncthreads();
  const int bucket = kThreads - 1 - thread;  // in descending order
  const int count = static_cast<int>(shared.bucket_counts[bucket]);
  const double weight = weights != nullptr ? weight_in(shared, bucket) : count;
  const double above = in.above + scan_block(weight).before, through = above + weight;
  if (choose_thread(count > 0 && through >= target, count > 0) == thread) {
    const uint32_t offset = static_cast<uint32_t>(bucket) << shift;
    const uint32_t whole = (1u << shift) - 1, rest = in.span - offset;
    shared.interval = {in.low + offset,  rest < whole ? rest : whole, count, above, through,
                       through >= target};
  }
  __syncthreads();
  return shared.interval;
}

// Narrows down where the list of what `cut` keeps, in descending order of order(logit), from `least` on, reaches the
// target weight. Ends with at most `enough` elements, with equal ones, or where all of the interval is needed. Without
// weights, each element weighs 1.
template <class List, class Keeps, class Order = ByLogit>
__device__ __noinline__ Interval narrow(const List& list, float least, const Keeps& cut, float largest,
                                        const Softmax* weights, double target, int enough,
                                        const Order& order = {}) {
  const uint32_t low = order_key(least);
  Interval in{low, order_key(largest) - low, 0, 0, 0, true};
  do {
    in = narrow_once(list, in, cut, weights, target, order);
  } while (in.reached && in.span > 0 && in.count > enough && in.through != target);
  return in;
}

// Sets the windows' sums of weight(logit, id); returns the sum of all.
template <class List, class Weight>
__device__ __noinline__ double add_up(const Row& row, const List& list, const Weight& weight) {
#pragma unroll 1
  for (int w = warp(); w < list.windows(); w += kWarps) {
    float x[kEach];
    list.load(w, x);
    double sum = 0;
#pragma unroll
    for (int j = 0; j < kEach; j++) sum += weight(x[j], list.id(w * kWindow + 32 * j + lane()));
    sum = sum_lanes(sum);
    if (lane() == 0) row.sums[w] = sum;
  }
  __syncthreads();
  double sum = 0;
  for_each_in_chunk(list.windows(), [&](int w) { sum += row.sums[w]; });
  return scan_block(sum).total;
}

// The window at which the running sum of sums exceeds the target; the last with a sum, should rounding leave none.
__device__ inline Position find_window(const Row& row, int windows, double target) {
  double sum = 0;
  for_each_in_chunk(windows, [&](int w) { sum += row.sums[w]; });
  double running = scan_block(sum).before;
  const bool exceeds = sum > 0 && running + sum > target;
  if (choose_thread(exceeds, sum > 0) == static_cast<int>(threadIdx.x)) {
    Position position{-1, 0};
    for_each_in_chunk(windows, [&](int w) {
      if (row.sums[w] == 0 || (position.window >= 0 && running > target)) return;
      position = {w, running};
      running += row.sums[w];
    });
    workspace().position = position;
  }
  __syncthreads();
  return workspace().position;
}

// The same for the tokens of a window, by a warp. Returns an id.
template <class List, class Weight>
__device__ __forceinline__ int find_in_window(const List& list, Position position, const Weight& weight,
                                              double target) {
  // Neighbours here, for the order of additions.
  const int begin = position.window * kWindow + kEach * lane();
  float weights[kEach];
  double sum = 0;
#pragma unroll
  for (int j = 0; j < kEach; j++) {
    weights[j] = weight(list.logit(begin + j), list.id(begin + j));
    sum += weights[j];
  }
  double running = position.before + scan_lanes(sum);
  const uint32_t exceeding = __ballot_sync(kAllLanes, sum > 0 && running > target);
  const uint32_t positive = __ballot_sync(kAllLanes, sum > 0);
  running -= sum;
  int found = -1;
#pragma unroll
  for (int j = 0; j < kEach; j++) {
    if (weights[j] == 0 || (found >= 0 && running > target)) continue;
    found = list.id(begin + j);
    running += weights[j];
  }
  const int last = 31 - __clz(static_cast<int>(positive));
  return __shfl_sync(kAllLanes, found, exceeding != 0 ? __ffs(static_cast<int>(exceeding)) - 1 : last);
}

// The first id at which the running sum of weight(logit, id) exceeds the target; the last with a weight, should
// rounding leave none. The windows' sums must be of these weights.
template <class List, class Weight>
__device__ __noinline__ int find_token(const Row& row, const List& list, const Weight& weight,
                                       double target) {
  const Position position = find_window(row, list.windows(), target);
  if (warp() == 0) {
    const int id = find_in_window(list, position, weight, target);
    if (lane() == 0) workspace().token = id;
  }
  __syncthreads();
  return workspace().token;
}

// Draws by weight; `uniform` in [0,1).
template <class List, class Weight>
__device__ __forceinline__ int draw(const Row& row, const List& list, const Weight& weight, double uniform) {
  return find_token(row, list, weight, uniform * add_up(row, list, weight));
}

// Where the descending list of what `kept` keeps, which is no more than `cut` does, must end for its weight to reach the
// target.
template <class T, class Keeps>
__device__ __noinline__ Cut find_cut(const Row& row, const Tokens<T>& tokens, const Cut& cut,
                                     const Keeps& kept, const Softmax* weights, double target) {
  const Interval in = narrow(tokens, cut.logit, kept, row.softmax.largest, weights, target, 1);
  const float logit = from_order_key(in.low);
  const Cut all{logit, logit == cut.logit ? cut.id : kNoId};  // never more than `cut` keeps
  if (!in.reached || in.span > 0 || in.count == 1) return all;
  const double weight = weights != nullptr ? (*weights)(logit) : 1.0;
  const double needed = ceil((target - in.above) / weight);  // of equal ones
  if (!(needed < in.count)) return all;
  const Equal<Keeps> equal{logit, kept};
  add_up(row, tokens, equal);
  return {logit, find_token(row, tokens, equal, needed - 1)};
}

}  // namespace kvasir::cuda::sampling
