// One thread takes a row, in two passes over its logits: one for the maxima of groups of tokens, one for the
// sums of e^(logit - maximum). What follows looks at single groups, found by their maxima or sums, or at the
// tokens that can survive top-k, top-p and min-p; nothing is sorted. 8 bytes a token are read.

#include "kernels/sample/sample.h"

#include <cmath>

#include "device/cpu/rows.h"
#include "kernels/sample/candidates.cpu.h"
#include "kernels/sample/philox.cpu.h"

namespace kvasir::KVASIR_ISA {

// Sixteen vectors of tokens; the last group of a row may be shorter.
constexpr int64_t kGroup = 16 * kWidth;

struct Row {
  const float* logits;  // (V,)
  int64_t V;
  int64_t groups;
  float largest;          // logit
  double sum;             // of e^(logit - largest)
  float inverse;          // 1 / temperature
  double tempered;        // sum of e^((logit - largest) / temperature), where it was asked for
  float* maxima;          // (groups, kWidth): the largest of every kWidth-th logit of a group
  double* group_sums;     // (groups,): the parts of `tempered`
  Candidates candidates;  // room for V

  int64_t group_begin(int64_t g) const { return g * kGroup; }
  int64_t group_size(int64_t g) const { return (g + 1) * kGroup < V ? kGroup : V - g * kGroup; }
};

static Row row_in(std::byte* scratch, const float* logits, int64_t V) {
  Row row{};
  row.logits = logits;
  row.V = V;
  row.groups = (V + kGroup - 1) / kGroup;
  auto take = [&](int64_t bytes) {
    std::byte* start = scratch;
    scratch += (bytes + 63) / 64 * 64;
    return start;
  };
  row.maxima = reinterpret_cast<float*>(take(row.groups * kWidth * 4));
  row.group_sums = reinterpret_cast<double*>(take(row.groups * 8));
  row.candidates.logit = reinterpret_cast<float*>(take(V * 4));
  row.candidates.probability = reinterpret_cast<float*>(take(V * 4));
  row.candidates.id = reinterpret_cast<int32_t*>(take(V * 4));
  return row;
}

// NaN is passed over; the sums will show it.
static void find_maxima(Row& row) {
  const Vec lowest = broadcast(-kInfinity);
  Vec largest = lowest;
  for (int64_t g = 0; g < row.groups; g++) {
    const float* x = row.logits + row.group_begin(g);
    Vec m = lowest;
    for_each_vector(row.group_size(g),
                    [&](int64_t i, auto lanes) { m = max(keep(load(x + i, lanes), lanes, lowest), m); });
    store(row.maxima + g * kWidth, m);
    largest = max(m, largest);
  }
  row.largest = reduce_max(largest);
}

// Which sums a row needs beside that of its unchanged logits.
enum class Temperature { kNone, kOne, kAny };

template <Temperature T>
static void add_exponentials(Row& row) {
  const Vec largest = broadcast(row.largest), inverse = broadcast(row.inverse);
  Wide sum = widen(zero());
  for (int64_t g = 0; g < row.groups; g++) {
    const float* x = row.logits + row.group_begin(g);
    Vec plain = zero();  // sixteen terms a lane: f32 is wide enough
    Wide tempered = widen(zero());
    for_each_vector(row.group_size(g), [&](int64_t i, auto lanes) {
      const Vec difference = load(x + i, lanes) - largest;
      const Vec e = keep(exp(difference), lanes, zero());
      plain = plain + e;
      if constexpr (T == Temperature::kOne) tempered = tempered + widen(e);
      if constexpr (T == Temperature::kAny)
        tempered = tempered + widen(keep(exp(difference * inverse), lanes, zero()));
    });
    sum = sum + widen(plain);
    if constexpr (T != Temperature::kNone) {
      row.group_sums[g] = reduce_add(tempered);
      row.tempered += row.group_sums[g];
    }
  }
  row.sum = reduce_add(sum);
}

// The lowest of the ids with the largest logit.
static int32_t first_largest(const Row& row) {
  int64_t g = 0;
  while (greater_equal_bits(load(row.maxima + g * kWidth), broadcast(row.largest)) == 0) g++;
  int64_t id = row.group_begin(g);
  while (row.logits[id] != row.largest) id++;
  return static_cast<int32_t>(id);
}

// The group in which a running sum of probabilities exceeds `target`, and the sum before that group.
struct Position {
  int64_t group;
  double before;
};
static Position find_group(const double* sums, int64_t groups, double target) {
  Position position{0, 0};
  double running = 0;
  for (int64_t g = 0; g < groups && running <= target; g++) {
    if (sums[g] == 0) continue;
    position = {g, running};
    running += sums[g];
  }
  return position;
}

// The first i at which running + p[0] + ... + p[i] exceeds `target`; where rounding leaves none, the last i
// with p[i] > 0.
static int64_t find_token(const float* p, int64_t count, double running, double target) {
  int64_t last = 0;
  for (int64_t i = 0; i < count && running <= target; i++) {
    if (p[i] == 0) continue;
    running += p[i];
    last = i;
  }
  return last;
}

static void exponentials(const Row& row, const float* logits, float* p, int64_t count) {
  const Vec largest = broadcast(row.largest), inverse = broadcast(row.inverse);
  for_each_vector(count, [&](int64_t i, auto lanes) {
    store(p + i, exp((load(logits + i, lanes) - largest) * inverse), lanes);
  });
}

static int32_t sample_all(const Row& row, double uniform) {
  const double target = uniform * row.tempered;
  const Position position = find_group(row.group_sums, row.groups, target);
  const int64_t begin = row.group_begin(position.group), size = row.group_size(position.group);
  float p[kGroup];
  exponentials(row, row.logits + begin, p, size);
  return static_cast<int32_t>(begin + find_token(p, size, position.before, target));
}

// A logit that at least k logits reach, and not many more.
//
// While k is small, the k-th largest of the groups' maxima is such a logit: they are of disjoint sets.
static float top_k_bound(const Row& row, int64_t k) {
  const int64_t maxima = row.groups * kWidth;
  const bool few = k <= maxima / 2;
  const int64_t enough = k / 8 < 32 ? 32 : k / 8;
  return narrow(few ? row.maxima : row.logits, nullptr, few ? maxima : row.V, -FLT_MAX, row.largest,
                static_cast<double>(k), enough)
      .low;
}

// The logit below which no token can be kept, or a little less than that.
static float candidate_bound(const Row& row, int64_t top_k, double top_p, double min_p) {
  double smallest = 0;  // probability, over that of the largest
  if (top_k == 0) {
    // All the tokens below this together have less than 1 - top_p.
    smallest = (1 - top_p) * row.tempered / static_cast<double>(row.V);
  }
  // top_p counts what top_k keeps, whatever min_p thinks of it.
  if ((top_k == 0 || top_p == 1) && min_p > smallest) smallest = min_p;
  float bound = -FLT_MAX;  // a logit of -infinity is never chosen
  if (smallest > 0) {
    // The margin covers the errors of the exponentials many times.
    const double logit = row.largest + (std::log(smallest) - 0.01) / row.inverse;
    if (logit > bound) bound = static_cast<float>(logit);
  }
  if (top_k > 0) {
    const float reached = top_k_bound(row, top_k);
    if (reached > bound) bound = reached;
  }
  return bound < row.largest ? bound : row.largest;  // never above: one token is always kept
}

static void collect(Row& row, float bound) {
  Candidates& candidates = row.candidates;
  candidates.least = bound;
  candidates.largest = row.largest;
  for (int64_t g = 0; g < row.groups; g++) {
    if (greater_equal_bits(load(row.maxima + g * kWidth), broadcast(bound)) == 0) continue;
    const int64_t begin = row.group_begin(g);
    for_each_between(row.logits + begin, row.group_size(g), bound, kInfinity, [&](int64_t i) {
      candidates.id[candidates.count] = static_cast<int32_t>(begin + i);
      candidates.logit[candidates.count] = row.logits[begin + i];
      candidates.count++;
    });
  }
  exponentials(row, candidates.logit, candidates.probability, candidates.count);
}

// The sum of the candidates' probabilities, and of each group of them.
static double add_candidates(Row& row) {
  const Candidates& candidates = row.candidates;
  double total = 0;
  for (int64_t g = 0; g * kGroup < candidates.count; g++) {
    const float* p = candidates.probability + g * kGroup;
    const int64_t left = candidates.count - g * kGroup;
    row.group_sums[g] =
        reduce_add(sum_vectors(left < kGroup ? left : kGroup, widen(zero()),
                               [&](int64_t c, auto lanes) { return widen(load(p + c, lanes)); }));
    total += row.group_sums[g];
  }
  return total;
}

static int32_t sample_filtered(Row& row, int64_t top_k, double top_p, float min_p, double uniform) {
  Candidates& candidates = row.candidates;
  collect(row, candidate_bound(row, top_k, top_p, min_p));
  if (top_k > 0) keep_top_k(candidates, top_k);
  if (top_p < 1) keep_top_p(candidates, top_p * (top_k > 0 ? add_candidates(row) : row.tempered));
  if (min_p > 0) keep_min_p(candidates, min_p);
  const double target = uniform * add_candidates(row);
  const int64_t groups = (candidates.count + kGroup - 1) / kGroup;
  const Position position = find_group(row.group_sums, groups, target);
  const int64_t begin = position.group * kGroup;
  return candidates.id[begin + find_token(candidates.probability + begin, candidates.count - begin,
                                          position.before, target)];
}

// Finite and not zero, so that its product with a difference of logits is never NaN.
static float clamp_to_normal(float x) { return x < FLT_MIN ? FLT_MIN : x < FLT_MAX ? x : FLT_MAX; }

static void sample_row(const Sample& s, int64_t r, std::byte* scratch) {
  Row row = row_in(scratch, floats(s.logits) + r * s.logits_stride, s.V);
  const float temperature = s.temperature[r];
  const int64_t top_k = s.top_k[r] > 0 && s.top_k[r] < s.V ? s.top_k[r] : 0;
  const bool filtered = top_k > 0 || s.top_p[r] < 1 || s.min_p[r] > 0;
  row.inverse = clamp_to_normal(1 / temperature);
  find_maxima(row);
  if (!(temperature > 0) || top_k > 0) {
    add_exponentials<Temperature::kNone>(row);
  } else if (temperature == 1) {
    add_exponentials<Temperature::kOne>(row);
  } else {
    add_exponentials<Temperature::kAny>(row);
  }
  if (!(row.sum > 0)) {  // NaN: through a NaN, infinity - infinity, or -infinity - -infinity
    s.ids[r] = -1;
    s.logprobs[r] = __builtin_nanf("");
    return;
  }
  int32_t id;
  if (!(temperature > 0)) {
    id = first_largest(row);
  } else {
    const uint32_t* seed = reinterpret_cast<const uint32_t*>(s.seed + 2 * r);
    const double uniform = philox_uniform(static_cast<uint32_t>(s.counter[r]), seed[0], seed[1]);
    id = filtered ? sample_filtered(row, top_k, s.top_p[r], s.min_p[r], uniform) : sample_all(row, uniform);
  }
  s.ids[r] = id;
  s.logprobs[r] = static_cast<float>(static_cast<double>(row.logits[id]) - row.largest - std::log(row.sum));
}

void sample(const Sample& s, Execution& execution) {
  const int64_t scratch_bytes = sample_scratch_bytes_per_thread(s.V);
  parallel_rows(execution, s.R, s.V,
                [&](int64_t r, int thread) { sample_row(s, r, execution.scratch + thread * scratch_bytes); });
}

}  // namespace kvasir::KVASIR_ISA
