#pragma once

// Softmax as a stream: scores of one row and key tile become weights relative to the largest score so far.
//
// Scores are in units of log2, so that weights are powers of two. One row at a time: mask and maximum over
// its scores (up to 512 bytes, in the first-level cache), then weights in place, their sums kept by lane.

#include "device/cpu/vector.h"
#include "kernels/attention/attention.h"

namespace kvasir::KVASIR_ISA {

constexpr float kLog2E = 1.44269504f;
constexpr float kNoScore = -__builtin_inff();

// 2^x for x <= 0, relative error up to 1.7e-7; 1 for 0; 0 below -126, exactly; NaN for NaN.
//
// 2^x = 2^n (1 + r q(r)), n = round(x), q a minimax polynomial (error 9.1e-8).
static inline Vec exp2_of_negative(Vec x) {
  const Vec lowest = broadcast(-126.0f);
  const Vec c = max(lowest, x);  // in this order a NaN in x stays
  const Vec n = round(c), r = c - n;
  Vec q = broadcast(0.00132647273f);
  q = fma(q, r, broadcast(0.00967151299f));
  q = fma(q, r, broadcast(0.0555073358f));
  q = fma(q, r, broadcast(0.240222424f));
  q = fma(q, r, broadcast(0.693147004f));
  const Vec y = scale_by_power_of_two(fma(q, r, broadcast(1.0f)), n);
  return select_less(x, lowest, zero(), y);
}

static inline float exp2_of_negative(float x) { return reduce_max(exp2_of_negative(broadcast(x))); }

// What differences from the largest score are taken of: anything finite will do where there is no score yet.
static inline float reference_of(float maximum) { return maximum == kNoScore ? 0.0f : maximum; }

// How products of q and k become scores, in units of log2.
struct ScoreRule {
  float q_scale;        // of q
  float softcap;        // score = softcap tanh(score), where not 0
  const float* slopes;  // (H,) or null
};

static inline ScoreRule score_rule(const Attention& a) {
  if (a.softcap > 0) return {a.scale / a.softcap, a.softcap * kLog2E, a.slopes};
  return {a.scale * kLog2E, 0, a.slopes};
}

// A row of a key tile. Positions count from the tile's start; whole vectors from begin to end are handled.
struct ScoreRow {
  float* scores;
  int64_t begin, end;
  int64_t first, last;  // the row sees positions from first to last - 1
};

static inline Vec positions_from(int64_t j) {
  alignas(64) static const float kLanes[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  return load(kLanes) + broadcast(static_cast<float>(j));
}

static inline void apply_softcap(const ScoreRow& row, float softcap) {
  for (int64_t j = row.begin; j < row.end; j += kWidth)
    store(row.scores + j, broadcast(softcap) * tanh(load(row.scores + j)));
}

// `distance`: from the query's position to the tile's start.
static inline void apply_slope(const ScoreRow& row, float slope, int64_t distance) {
  for (int64_t j = row.begin; j < row.end; j += kWidth)
    store(row.scores + j, fma(broadcast(slope), positions_from(j + distance), load(row.scores + j)));
}

static inline void apply_mask(const ScoreRow& row) {
  const Vec first = broadcast(static_cast<float>(row.first)), last = broadcast(static_cast<float>(row.last));
  for (int64_t j = row.begin; j < row.end; j += kWidth) {
    if (j >= row.first && j + kWidth <= row.last) continue;
    const Vec at = positions_from(j), none = broadcast(kNoScore);
    store(row.scores + j, select_less(at, first, none, select_less(at, last, load(row.scores + j), none)));
  }
}

static inline float largest_score(const ScoreRow& row) {
  Vec m = broadcast(kNoScore);
  for (int64_t j = row.begin; j < row.end; j += kWidth) m = max(m, load(row.scores + j));
  return reduce_max(m);
}

// Scores become 2^(score - reference); returns `sums` plus them, by lane.
static inline Vec weigh(const ScoreRow& row, float reference, Vec sums) {
  for (int64_t j = row.begin; j < row.end; j += kWidth) {
    const Vec p = exp2_of_negative(load(row.scores + j) - broadcast(reference));
    store(row.scores + j, p);
    sums = sums + p;
  }
  return sums;
}

}  // namespace kvasir::KVASIR_ISA
