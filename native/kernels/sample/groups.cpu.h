#pragma once

// A row of logits in groups of sixteen vectors, each known by its largest, so that what looks for few tokens need not look
// at all of them; and the sum that log probabilities are made of.

#include <cfloat>
#include <cmath>
#include <cstdint>

#include "device/cpu/rows.h"
#include "kernels/sample/interval.cpu.h"

namespace kvasir::KVASIR_ISA {

// Sixteen vectors of tokens; the last group of a row may be shorter.
constexpr int64_t kGroup = 16 * kWidth;

static inline int64_t groups_in(int64_t V) { return (V + kGroup - 1) / kGroup; }

struct Groups {
  const float* logits;  // (V,)
  int64_t V;
  int64_t count;
  float* maxima;  // (count, kWidth): the largest of every kWidth-th logit of a group
  float largest;  // logit

  int64_t begin(int64_t g) const { return g * kGroup; }
  int64_t size(int64_t g) const { return (g + 1) * kGroup < V ? kGroup : V - g * kGroup; }
};

// `maxima` has room for groups_in(V) * kWidth. NaN is passed over.
static Groups groups_of(const float* logits, int64_t V, float* maxima) {
  Groups groups{logits, V, groups_in(V), maxima, 0};
  const Vec lowest = broadcast(-kInfinity);
  Vec largest = lowest;
  for (int64_t g = 0; g < groups.count; g++) {
    const float* x = logits + groups.begin(g);
    Vec m = lowest;
    for_each_vector(groups.size(g),
                    [&](int64_t i, auto lanes) { m = max(keep(load(x + i, lanes), lanes, lowest), m); });
    store(maxima + g * kWidth, m);
    largest = max(m, largest);
  }
  groups.largest = reduce_max(largest);
  return groups;
}

// Calls body(id) in ascending order for the tokens of at least `bound`, which is above -infinity, and below infinity.
template <typename F>
static void for_each_reaching(const Groups& groups, float bound, const F& body) {
  for (int64_t g = 0; g < groups.count; g++) {
    if (greater_equal_bits(load(groups.maxima + g * kWidth), broadcast(bound)) == 0) continue;
    const int64_t begin = groups.begin(g);
    for_each_between(groups.logits + begin, groups.size(g), bound, kInfinity,
                     [&](int64_t i) { body(begin + i); });
  }
}

// A logit that at least k logits reach, where as many are above -infinity, and not many more.
//
// While k is small, the k-th largest of the groups' maxima is such a logit: they are of disjoint sets.
static float top_k_bound(const Groups& groups, int64_t k) {
  const int64_t maxima = groups.count * kWidth;
  const bool few = k <= maxima / 2;
  const int64_t enough = k / 8 < 32 ? 32 : k / 8;
  return narrow(few ? groups.maxima : groups.logits, nullptr, few ? maxima : groups.V, -FLT_MAX,
                groups.largest, static_cast<double>(k), enough)
      .low;
}

// The sum of e^(logit - largest) of a row.
struct LogSum {
  float largest;
  double sum;

  // Not so with a NaN, with +infinity, or of -infinity alone: infinity - infinity is NaN.
  bool is_usable() const { return sum > 0; }
  float log_probability(float logit) const {
    return static_cast<float>(static_cast<double>(logit) - largest - std::log(sum));
  }
};

// Of a group, by lane: sixteen terms, for which f32 is wide enough.
static inline Vec add_group(const float* x, int64_t size, Vec largest) {
  Vec sum = zero();
  for_each_vector(size, [&](int64_t i, auto lanes) {
    sum = sum + keep(exp(load(x + i, lanes) - largest), lanes, zero());
  });
  return sum;
}

static LogSum log_sum(const float* logits, int64_t V) {
  Vec lanes_largest = broadcast(-kInfinity);
  for_each_vector(V, [&](int64_t c, auto lanes) {
    lanes_largest = max(keep(load(logits + c, lanes), lanes, broadcast(-kInfinity)), lanes_largest);
  });
  const float largest = reduce_max(lanes_largest);
  Wide sum = widen(zero());
  for (int64_t begin = 0; begin < V; begin += kGroup)
    sum = sum + widen(add_group(logits + begin, V - begin < kGroup ? V - begin : kGroup, broadcast(largest)));
  return {largest, reduce_add(sum)};
}

}  // namespace kvasir::KVASIR_ISA
