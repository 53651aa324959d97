// One thread takes a row, in two passes over its logits: one for the maxima of groups of tokens, one for the
// sums of e^(logit - maximum). What follows looks at single groups, found by their maxima or sums, or at the
// tokens that can survive top-k, typical, top-p and min-p; nothing is sorted. 8 bytes a token are read; where tokens
// are chosen from other logits than the model's, 8 more for the log probability; typical without top-k takes 4 more.

#include "kernels/sample/sample.h"

#include "kernels/sample/candidates.cpu.h"
#include "kernels/sample/groups.cpu.h"
#include "kernels/sample/philox.cpu.h"

namespace kvasir::KVASIR_ISA {

struct Row {
  Groups groups;
  double sum;             // of e^(logit - largest)
  float inverse;          // 1 / temperature
  double tempered;        // sum of e^((logit - largest) / temperature), where it was asked for
  double* group_sums;     // (groups,): the parts of `tempered`
  Candidates candidates;  // room for V
};

static Row row_in(std::byte* scratch, const float* logits, int64_t V, float inverse) {
  Row row{};
  auto take = [&](int64_t bytes) {
    std::byte* start = scratch;
    scratch += (bytes + 63) / 64 * 64;
    return start;
  };
  row.groups = groups_of(logits, V, reinterpret_cast<float*>(take(groups_in(V) * kWidth * 4)));
  row.inverse = inverse;
  row.group_sums = reinterpret_cast<double*>(take(row.groups.count * 8));
  row.candidates.logit = reinterpret_cast<float*>(take(V * 4));
  row.candidates.probability = reinterpret_cast<float*>(take(V * 4));
  row.candidates.id = reinterpret_cast<int32_t*>(take(V * 4));
  row.candidates.closeness = reinterpret_cast<float*>(take(V * 4));
  return row;
}

// Which sums a row needs beside that of its unchanged logits.
enum class Temperature { kNone, kOne, kAny };

template <Temperature T>
static void add_exponentials(Row& row) {
  const Groups& groups = row.groups;
  const Vec largest = broadcast(groups.largest), inverse = broadcast(row.inverse);
  Wide sum = widen(zero());
  for (int64_t g = 0; g < groups.count; g++) {
    const float* x = groups.logits + groups.begin(g);
    Vec plain = zero();  // sixteen terms a lane: f32 is wide enough
    Wide tempered = widen(zero());
    for_each_vector(groups.size(g), [&](int64_t i, auto lanes) {
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
static int32_t first_largest(const Groups& groups) {
  int64_t g = 0;
  while (greater_equal_bits(load(groups.maxima + g * kWidth), broadcast(groups.largest)) == 0) g++;
  int64_t id = groups.begin(g);
  while (groups.logits[id] != groups.largest) id++;
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
  const Vec largest = broadcast(row.groups.largest), inverse = broadcast(row.inverse);
  for_each_vector(count, [&](int64_t i, auto lanes) {
    store(p + i, exp((load(logits + i, lanes) - largest) * inverse), lanes);
  });
}

static int32_t sample_all(const Row& row, double uniform) {
  const Groups& groups = row.groups;
  const double target = uniform * row.tempered;
  const Position position = find_group(row.group_sums, groups.count, target);
  const int64_t begin = groups.begin(position.group), size = groups.size(position.group);
  float p[kGroup];
  exponentials(row, groups.logits + begin, p, size);
  return static_cast<int32_t>(begin + find_token(p, size, position.before, target));
}

// How a row's token is chosen.
struct Choice {
  float temperature;
  int64_t top_k;  // 0 for all
  float typical_p, top_p, min_p;
  double uniform;

  bool is_greedy() const { return !(temperature > 0); }
  bool filters() const { return top_k > 0 || typical_p < 1 || top_p < 1 || min_p > 0; }
};

static Choice choice_of(const Sample& s, int64_t r) {
  const uint32_t* seed = reinterpret_cast<const uint32_t*>(s.seed + 2 * r);
  return {s.temperature[r],
          s.top_k[r] > 0 && s.top_k[r] < s.V ? s.top_k[r] : 0,
          s.typical_p != nullptr ? s.typical_p[r] : 1.0f,
          s.top_p[r],
          s.min_p[r],
          philox_uniform(static_cast<uint32_t>(s.counter[r]), seed[0], seed[1])};
}

// The mean of all tokens' distances from the largest.
static double mean_distance(const Row& row) {
  const float *logits = row.groups.logits, largest = row.groups.largest;
  const double sum = reduce_add(sum_vectors(row.groups.V, widen(zero()), [&](int64_t c, auto lanes) {
    const Vec d = keep(distance_of(load(logits + c, lanes), largest, row.inverse), lanes, zero());
    return widen(weighted_distance(d, exp(-d)));
  }));
  return sum / row.tempered;
}

// The logit below which no token can be kept, or a little less than that. `mean` is of the distances, where typical
// sampling looks at all tokens.
static float candidate_bound(const Row& row, const Choice& choice, double mean) {
  double smallest = 0;  // probability, over that of the largest
  const double V = static_cast<double>(row.groups.V);
  const bool typical = choice.typical_p < 1;
  if (choice.top_k == 0) {
    // All the tokens below this together have less than 1 - top_p, or 1 - typical_p.
    smallest = (1.0 - (typical ? choice.typical_p : choice.top_p)) * row.tempered / V;
  }
  // top_p counts what top_k keeps, whatever min_p thinks of it, and typical_p may drop what min_p is measured by.
  if (!typical && (choice.top_k == 0 || choice.top_p == 1) && choice.min_p > smallest)
    smallest = choice.min_p;
  float bound = -FLT_MAX;  // a logit of -infinity is never chosen
  if (smallest > 0) {
    double distance = -std::log(smallest);
    // What is twice as far as the mean is less typical than all that is nearer.
    if (typical && distance < 2 * mean) distance = 2 * mean;
    // The margin covers the errors of the exponentials many times.
    const double logit = row.groups.largest - (distance + 0.01) / row.inverse;
    if (logit > bound) bound = static_cast<float>(logit);
  }
  if (choice.top_k > 0) {
    const float reached = top_k_bound(row.groups, choice.top_k);
    if (reached > bound) bound = reached;
  }
  return bound < row.groups.largest ? bound : row.groups.largest;  // never above: one token is always kept
}

static void collect(Row& row, float bound) {
  Candidates& candidates = row.candidates;
  candidates.least = bound;
  candidates.largest = row.groups.largest;
  for_each_reaching(row.groups, bound, [&](int64_t id) {
    candidates.id[candidates.count] = static_cast<int32_t>(id);
    candidates.logit[candidates.count] = row.groups.logits[id];
    candidates.count++;
  });
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

static int32_t sample_filtered(Row& row, const Choice& choice) {
  Candidates& candidates = row.candidates;
  const bool typical = choice.typical_p < 1;
  double total = row.tempered, mean = 0;
  if (typical && choice.top_k == 0) mean = mean_distance(row);
  collect(row, candidate_bound(row, choice, mean));
  if (choice.top_k > 0) {
    keep_top_k(candidates, choice.top_k);
    if (typical || choice.top_p < 1) total = add_candidates(row);
    if (typical) mean = add_distances(candidates, row.inverse) / total;
  }
  if (typical) {
    keep_typical(candidates, static_cast<float>(mean), row.inverse, choice.typical_p * total);
    if (choice.top_p < 1) total = add_candidates(row);
  }
  if (choice.top_p < 1) keep_top_p(candidates, choice.top_p * total);
  if (choice.min_p > 0)
    keep_min_p(candidates, typical ? choice.min_p * largest_probability(candidates) : choice.min_p);
  const double target = choice.uniform * add_candidates(row);
  const Position position = find_group(row.group_sums, groups_in(candidates.count), target);
  const int64_t begin = position.group * kGroup;
  return candidates.id[begin + find_token(candidates.probability + begin, candidates.count - begin,
                                          position.before, target)];
}

// Finite and not zero, so that its product with a difference of logits is never NaN.
static float clamp_to_normal(float x) { return x < FLT_MIN ? FLT_MIN : x < FLT_MAX ? x : FLT_MAX; }

// An id, and the sum of what it was chosen from.
struct Chosen {
  int32_t id;
  LogSum sum;
};

static Chosen choose(const float* logits, int64_t V, const Choice& choice, std::byte* scratch) {
  Row row = row_in(scratch, logits, V, clamp_to_normal(1 / choice.temperature));
  if (choice.is_greedy() || choice.top_k > 0) {
    add_exponentials<Temperature::kNone>(row);
  } else if (choice.temperature == 1) {
    add_exponentials<Temperature::kOne>(row);
  } else {
    add_exponentials<Temperature::kAny>(row);
  }
  const LogSum sum{row.groups.largest, row.sum};
  if (!sum.is_usable()) return {-1, sum};
  if (choice.is_greedy()) return {first_largest(row.groups), sum};
  return {choice.filters() ? sample_filtered(row, choice) : sample_all(row, choice.uniform), sum};
}

static void sample_row(const Sample& s, int64_t r, std::byte* scratch) {
  const float* logits = floats(s.logits) + r * s.logits_stride;
  const int32_t forced = s.forced != nullptr ? s.forced[r] : -1;
  Chosen chosen{forced, {}};
  if (forced < 0) {
    const float* from = s.adjusted != nullptr ? s.adjusted + r * s.adjusted_stride : logits;
    chosen = choose(from, s.V, choice_of(s, r), scratch);
  }
  // Log probabilities are the model's own.
  const LogSum sum = s.adjusted != nullptr ? log_sum(logits, s.V) : chosen.sum;
  const bool found = chosen.id >= 0 && sum.is_usable();
  s.ids[r] = found ? chosen.id : -1;
  s.logprobs[r] = found ? sum.log_probability(logits[chosen.id]) : __builtin_nanf("");
}

void sample(const Sample& s, Execution& execution) {
  const int64_t scratch_bytes = sample_scratch_bytes_per_thread(s.V);
  parallel_rows(execution, s.R, s.V,
                [&](int64_t r, int thread) { sample_row(s, r, execution.scratch + thread * scratch_bytes); });
}

}  // namespace kvasir::KVASIR_ISA
