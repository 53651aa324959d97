#pragma once

// The arithmetic of attention on CUDA that every kernel shares, so that a row has the same bits in all of
// them.
//
// Scores are in units of log2: weights are powers of two. A row takes its keys in tiles of 64, four tiles are
// a split; both are counted in absolute positions.
//
//   in a split, from maximum = -inf, weight = 0, sums = 0; for each tile:
//     s        = dot(q, k) from mma over channels 0, 16, 32 ...; the rule of the scores; -inf where masked
//     maximum' = max(maximum, max s)
//     rescale  = 2^(maximum - maximum')
//     p        = 2^(s - maximum'); where the rule is but a factor, as 2^fma(dot(q, k), factor, -maximum')
//     weight   = weight * rescale + sum p           f32, by lane: a lane's keys in ascending order
//     sums     = sums * rescale + sum round(p) v    mma over keys 0, 16, 32, 48
//     maximum  = maximum'
//   weight of the row = (lane 0 + lane 2) + (lane 1 + lane 3)
//   splits are added in ascending order, each relative to its own maximum; y = sums / weight
//
// A tile that a row does not see has p = 0 and rescale = 1, which changes nothing.
//
// Registers: a lane of a warp holds parts of two rows, lane / 4 and lane / 4 + 8, as mma and wgmma leave
// them.

#include "device/cuda/arithmetic.cuh"
#include "kernels/attention/attention.h"

namespace kvasir::cuda::attend {

constexpr int kKeyTile = 64;
constexpr int kSplit = static_cast<int>(kAttentionSplit);
constexpr int kSplitTiles = kSplit / kKeyTile;

constexpr float kLog2E = 1.44269504f;
constexpr float kNoScore = -INFINITY;

// Positions from first to last - 1.
struct KeyRange {
  int first, last;

  __device__ __forceinline__ bool empty() const { return first >= last; }
  __device__ __forceinline__ bool has(int key) const { return key >= first && key < last; }
  __device__ __forceinline__ bool meets(int start, int keys) const {
    return start < last && start + keys > first;
  }
  __device__ __forceinline__ bool covers(int start, int keys) const {
    return start >= first && start + keys <= last;
  }
};

// How products of q and k become scores.
struct ScoreRule {
  float factor;   // of the product
  float softcap;  // score = softcap tanh(score), where not 0
};

inline ScoreRule score_rule(const Attention& a) {
  if (a.softcap > 0) return {a.scale / a.softcap, a.softcap * kLog2E};
  return {a.scale * kLog2E, 0};
}

// What the scores of a row depend on besides the products.
struct RowRule {
  KeyRange keys;  // what it sees; the last of them is its own position
  float slope;    // in units of log2
};

template <class T>
__device__ __forceinline__ float power_of_two(float x) {
  if constexpr (sizeof(T) == 2)
    return ptx::exp2_approximate(x);
  else
    return exp2f(x);
}

// What differences from the largest score are taken of: anything finite will do where there is no score yet.
__device__ __forceinline__ float reference_of(float maximum) { return maximum == kNoScore ? 0.0f : maximum; }

// Of what was summed relative to `before`, to be relative to `maximum`.
template <class T>
__device__ __forceinline__ float rescale_of(float before, float maximum) {
  return power_of_two<T>(difference(before, reference_of(maximum)));
}

__device__ __forceinline__ float capped(float score, const ScoreRule& rule) {
  return product(hyperbolic_tangent(score), rule.softcap);
}
__device__ __forceinline__ float sloped(float score, const RowRule& row, int key) {
  return fmaf(row.slope, static_cast<float>(key - (row.keys.last - 1)), score);
}
__device__ __forceinline__ float masked(float score, const RowRule& row, int key) {
  return row.keys.has(key) ? score : kNoScore;
}

// Products, scores or weights of 16 rows and a key tile: [i][c] is key 8i + 2 (lane % 4) + c % 2 of row
// lane / 4 + 8 (c / 2).
using ScoreTile = float[kKeyTile / 8][4];

template <class F>
__device__ __forceinline__ void for_each_score(ScoreTile& s, const F& body) {
  const int first = 2 * static_cast<int>(threadIdx.x % 4);
#pragma unroll
  for (int i = 0; i < kKeyTile / 8; i++) {
#pragma unroll
    for (int c = 0; c < 4; c++) body(s[i][c], c / 2, first + 8 * i + c % 2);
  }
}

// Products become scores, but for a positive factor that is returned. `rule_of(i)`: the RowRule of the lane's row i,
// asked for where it is needed. `slopes`: the rows have some. `covered`: every row sees the whole tile, from `start`.
template <class F>
__device__ __forceinline__ float form_scores(ScoreTile& s, const ScoreRule& rule, const F& rule_of,
                                             bool slopes, bool covered, int start) {
  const bool factor_alone = !(rule.softcap > 0) && !slopes && rule.factor > 0;
  if (!factor_alone) for_each_score(s, [&](float& x, int, int) { x = product(x, rule.factor); });
  if (rule.softcap > 0) for_each_score(s, [&](float& x, int, int) { x = capped(x, rule); });
  const float factor = factor_alone ? rule.factor : 1.0f;
  if (covered && !slopes) return factor;
  const RowRule rows[2] = {rule_of(0), rule_of(1)};
  if (slopes) for_each_score(s, [&](float& x, int row, int key) { x = sloped(x, rows[row], start + key); });
  if (!covered) for_each_score(s, [&](float& x, int row, int key) { x = masked(x, rows[row], start + key); });
  return factor;
}

// The largest score of each row, for all lanes that hold parts of it.
__device__ __forceinline__ void find_maxima(ScoreTile& s, float factor, float (&maxima)[2]) {
  maxima[0] = maxima[1] = kNoScore;
  for_each_score(s, [&](float& x, int row, int) { maxima[row] = fmaxf(maxima[row], x); });
#pragma unroll
  for (int row = 0; row < 2; row++) maxima[row] = product(warp_max<4>(maxima[row]), factor);
}

// Scores become weights relative to `maxima`; `sums`: of the lane's own.
template <class T>
__device__ __forceinline__ void form_weights(ScoreTile& s, float factor, const float (&maxima)[2],
                                             float (&sums)[2]) {
  const float references[2] = {reference_of(maxima[0]), reference_of(maxima[1])};
  sums[0] = sums[1] = 0.0f;
  for_each_score(s, [&](float& x, int row, int) {
    x = power_of_two<T>(fmaf(x, factor, -references[row]));
    sums[row] = sum(sums[row], x);
  });
}

// The weights as left operands of mma: [k] for keys 16k to 16k+15.
using WeightTile = uint32_t[kKeyTile / 16][4];

template <class T>
__device__ __forceinline__ void pack_weights(const ScoreTile& p, WeightTile& packed) {
#pragma unroll
  for (int i = 0; i < kKeyTile / 8; i++) {
    packed[i / 2][i % 2 * 2] = pack2<T>(p[i][0], p[i][1]);
    packed[i / 2][i % 2 * 2 + 1] = pack2<T>(p[i][2], p[i][3]);
  }
}

__device__ __forceinline__ float add_lanes(float weight) { return warp_sum<4>(weight); }

// A row's softmax over some splits.
struct alignas(8) RowSum {
  float maximum = kNoScore, weight = 0.0f;
};

// What the sums of channels are multiplied by when a split is added to those before.
struct MergeFactors {
  float before, split;
};

template <class T>
__device__ __forceinline__ MergeFactors merge(RowSum& total, const RowSum& split) {
  const float maximum = fmaxf(total.maximum, split.maximum);
  const MergeFactors factors{rescale_of<T>(total.maximum, maximum), rescale_of<T>(split.maximum, maximum)};
  total.weight = fmaf(total.weight, factors.before, product(split.weight, factors.split));
  total.maximum = maximum;
  return factors;
}

__device__ __forceinline__ float merged(float total, float split, const MergeFactors& factors) {
  return fmaf(total, factors.before, product(split, factors.split));
}

// y of a channel, inverse = 1 / weight. + 0: the sign of a zero could come from keys that the row does not
// see, 0 times a negative value.
__device__ __forceinline__ float normalized(float total, float inverse) { return fmaf(total, inverse, 0.0f); }

}  // namespace kvasir::cuda::attend
