#pragma once

// The tokens of a row that top-k, typical, top-p and min-p have to look at, and where those cut them off.

#include <cstdint>

#include "kernels/sample/interval.cpu.h"

namespace kvasir::KVASIR_ISA {

// Tokens in ascending order of id.
struct Candidates {
  float* logit;
  float* probability;  // over that of the row's largest; 0 for what has been cut off
  int32_t* id;
  float* closeness;  // to the typical: see keep_typical
  int64_t count;
  float least, largest;  // bounds of the logits not yet cut off
};

// The last element of a list in descending order, equals in ascending order of index.
struct Cut {
  float value;
  int64_t index;
};

// Where the descending list of x must end for its weights to reach `target`; its last element, where rounding
// keeps them from it.
static Cut find_cut(const float* x, const float* weight, int64_t count, float least, float largest,
                    double target) {
  constexpr int64_t kFew = 32;
  const Interval interval = narrow(x, weight, count, least, largest, target, kFew);
  double sum = interval.above;
  auto weight_of = [&](int64_t i) { return weight != nullptr ? weight[i] : 1.0; };
  Cut cut{interval.low, -1};
  if (interval.count == 0) {
    for_each_between(x, count, interval.low, interval.high, [&](int64_t i) {
      if (cut.index >= 0 && sum >= target) return;
      sum += weight_of(i);
      cut.index = i;
    });
    return cut;
  }
  int64_t few[kFew];
  int64_t left = 0;
  for_each_between(x, count, interval.low, interval.high, [&](int64_t i) { few[left++] = i; });
  while (left > 0 && (cut.index < 0 || sum < target)) {
    int64_t best = 0;
    for (int64_t j = 1; j < left; j++)
      if (x[few[j]] > x[few[best]]) best = j;
    cut = {x[few[best]], few[best]};
    sum += weight_of(few[best]);
    left--;
    for (int64_t j = best; j < left; j++) few[j] = few[j + 1];
  }
  return cut;
}

// Leaves what the list in descending order of x has up to the cut.
static void cut_off(Candidates& candidates, const float* x, Cut cut) {
  float* p = candidates.probability;
  const Vec value = broadcast(cut.value);
  for_each_vector(candidates.count, [&](int64_t c, auto lanes) {
    store(p + c, select_less(load(x + c, lanes), value, zero(), load(p + c, lanes)), lanes);
  });
  for (int64_t i = cut.index + 1; i < candidates.count; i++)
    if (x[i] == cut.value) p[i] = 0;
}

static void cut_off_logits(Candidates& candidates, Cut cut) {
  cut_off(candidates, candidates.logit, cut);
  candidates.least = cut.value;
}

// Keeps the k largest.
static void keep_top_k(Candidates& c, int64_t k) {
  if (k < c.count)
    cut_off_logits(c, find_cut(c.logit, nullptr, c.count, c.least, c.largest, static_cast<double>(k)));
}

// Keeps the largest whose probabilities reach `target`.
static void keep_top_p(Candidates& c, double target) {
  cut_off_logits(c, find_cut(c.logit, c.probability, c.count, c.least, c.largest, target));
}

// How far a logit is from the largest, at the temperature: -log of its probability, but for a constant.
static inline Vec distance_of(Vec logit, float largest, float inverse) {
  return (broadcast(largest) - logit) * broadcast(inverse);
}

// d p, and 0 where p is: d may be infinite there.
static inline Vec weighted_distance(Vec d, Vec p) { return select_less(zero(), p, d * p, zero()); }

// The sum of weighted distances of what is left.
static double add_distances(const Candidates& candidates, float inverse) {
  return reduce_add(sum_vectors(candidates.count, widen(zero()), [&](int64_t c, auto lanes) {
    const Vec d = distance_of(load(candidates.logit + c, lanes), candidates.largest, inverse);
    return widen(weighted_distance(d, load(candidates.probability + c, lanes)));
  }));
}

// Keeps what is closest to the mean distance, until the probabilities reach `target`.
static void keep_typical(Candidates& candidates, float mean, float inverse, double target) {
  constexpr float kLeast =
      -88.0f;  // probabilities are 0 beyond a distance of 87.4, and so is the mean below that
  float* closeness = candidates.closeness;
  for_each_vector(candidates.count, [&](int64_t c, auto lanes) {
    const Vec d = distance_of(load(candidates.logit + c, lanes), candidates.largest, inverse);
    const Vec p = load(candidates.probability + c, lanes);
    store(closeness + c, select_less(zero(), p, -abs(d - broadcast(mean)), broadcast(-kInfinity)), lanes);
  });
  cut_off(candidates, closeness,
          find_cut(closeness, candidates.probability, candidates.count, kLeast, 0, target));
}

static float largest_probability(const Candidates& candidates) {
  Vec largest = zero();
  for_each_vector(candidates.count, [&](int64_t c, auto lanes) {
    largest = max(load(candidates.probability + c, lanes), largest);
  });
  return reduce_max(largest);
}

// Keeps what has at least the probability `least`, over that of the largest.
static void keep_min_p(Candidates& candidates, float least) {
  float* p = candidates.probability;
  for_each_vector(candidates.count, [&](int64_t c, auto lanes) {
    const Vec v = load(p + c, lanes);
    store(p + c, select_less(v, broadcast(least), zero(), v), lanes);
  });
}

}  // namespace kvasir::KVASIR_ISA
