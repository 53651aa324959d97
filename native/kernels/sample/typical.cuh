#pragma once

// Typical sampling: what is closest to the mean distance from the largest. See sample.h.

#include "kernels/sample/candidates.cuh"
#include "kernels/sample/rules.cuh"

namespace kvasir::cuda::sampling {

// A list in descending order of closeness to the mean, which is at most 0.
struct ByCloseness {
  Softmax softmax;
  float mean;
  __device__ float operator()(float logit) const {
    return -fabsf(difference(distance_of(softmax, logit), mean));
  }
};
// Probabilities are 0 beyond a distance of 87.4, and so is the mean below that.
constexpr float kLeastCloseness = -88.0f;

// The last element of such a list, lower ids before higher ones, of what `cut` keeps.
struct TypicalCut {
  Cut cut;
  ByCloseness order;
  float closeness;
  int id;
  __device__ bool keeps(float x, int i) const {
    const float own = order(x);
    return cut.keeps(x, i) && (own > closeness || (own == closeness && i <= id));
  }
};

// Of what `cut` keeps, probabilities of what is as close as that. There may be two logits, on both sides of the mean.
struct EquallyClose {
  Cut cut;
  ByCloseness order;
  float closeness;
  __device__ float operator()(float x, int i) const {
    return cut.keeps(x, i) && order(x) == closeness ? order.softmax(x) : 0.0f;
  }
};

struct WeightedDistance {
  Cut cut;
  Softmax softmax;
  __device__ float operator()(float x, int i) const {
    return cut.keeps(x, i) ? weighted_distance(softmax, x) : 0.0f;
  }
};

// The sum of a window's weighted distances from its own largest.
__device__ __forceinline__ void reduce_distances(const Row& row, const Softmax& softmax,
                                                 const float (&x)[kEach], int w) {
  double sum = 0;
#pragma unroll
  for (int j = 0; j < kEach; j++) sum += weighted_distance(softmax, x[j]);
  sum = sum_lanes(sum);
  if (lane() == 0) row.distances[w] = sum;
}

// Where the list of what `cut` keeps must end for its weight to reach the target.
template <class T>
__device__ __noinline__ TypicalCut find_typical_cut(const Row& row, const Tokens<T>& tokens, const Cut& cut,
                                                    float mean, double target) {
  const ByCloseness order{row.softmax, mean};
  const Interval in = narrow(tokens, kLeastCloseness, cut, 0.0f, &row.softmax, target, 1, order);
  const float closeness = from_order_key(in.low);
  const TypicalCut all{cut, order, closeness, kNoId};
  if (!in.reached || in.span > 0 || in.count == 1) return all;
  // The token at which the running sum reaches what is missing, and so exceeds a little less.
  const EquallyClose equal{cut, order, closeness};
  const double missing = target - in.above;
  if (!(add_up(row, tokens, equal) > missing)) return all;
  return {cut, order, closeness, find_token(row, tokens, equal, missing * (1 - 0x1p-52))};
}

// The largest probability of what is kept.
template <class T, class Keeps>
__device__ __forceinline__ float largest_kept(const Row& row, const Tokens<T>& tokens, const Keeps& kept) {
  uint64_t best = 0;
  for_each(tokens, [&](float x, int id) {
    const uint64_t own = kept.keeps(x, id) ? pack_best(x, 0) : 0;
    best = best < own ? own : best;
  });
  return row.softmax(logit_of(largest_of_block(best)));
}

// What both keep.
struct BothCuts {
  Cut cut;
  TypicalCut typical;
  __device__ bool keeps(float x, int i) const { return cut.keeps(x, i) && typical.keeps(x, i); }
};

// `cut`: what top-k keeps of the tokens.
template <class T>
__device__ __forceinline__ int draw_typical(const Row& row, const Rules& rules, const Tokens<T>& tokens,
                                            const Cut& cut, double uniform) {
  double total = row.sum, distances = row.distance_sum;
  if (rules.top_k > 0) {
    total = add_up(row, tokens, Kept<Cut>{row.softmax, cut, 0});
    distances = add_up(row, tokens, WeightedDistance{cut, row.softmax});
  }
  const float mean = static_cast<float>(distances / total);
  BothCuts both{cut, find_typical_cut(row, tokens, cut, mean, rules.typical_p * total)};
  if (rules.top_p < 1) {
    total = add_up(row, tokens, Kept<BothCuts>{row.softmax, both, 0});
    both.cut = find_cut(row, tokens, cut, both, &row.softmax, rules.top_p * total);
  }
  const float least = rules.min_p > 0 ? product(rules.min_p, largest_kept(row, tokens, both)) : 0.0f;
  return draw(row, tokens, Kept<BothCuts>{row.softmax, both, least}, uniform);
}

}  // namespace kvasir::cuda::sampling
