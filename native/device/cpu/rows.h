#pragma once

// Loops over the rows of a matrix and over the vectors of a row.

#include "device/cpu/parallel.h"
#include "device/cpu/vector.h"

namespace kvasir::KVASIR_ISA {

// Which lanes of a vector belong to the row: all, or in its last vector the first n.
struct AllLanes {};
struct FirstLanes {
  int n;
};

static inline Vec load(const float* p, AllLanes) { return load(p); }
static inline Vec load(const float* p, FirstLanes lanes) { return load_partial(p, lanes.n); }
static inline void store(float* p, Vec a, AllLanes) { store(p, a); }
static inline void store(float* p, Vec a, FirstLanes lanes) { store_partial(p, a, lanes.n); }

// `a` in the row's lanes, `rest` in the others.
static inline Vec keep(Vec a, AllLanes, Vec) { return a; }
static inline Vec keep(Vec a, FirstLanes lanes, Vec rest) {
  alignas(64) static const float kIndex[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  return select_less(load(kIndex), broadcast(static_cast<float>(lanes.n)), a, rest);
}

// Calls body(c, lanes) for the vectors that begin at elements c of [0, count).
template <typename F>
static inline void for_each_vector(int64_t count, const F& body) {
  int64_t c = 0;
  for (; c + kWidth <= count; c += kWidth) body(c, AllLanes{});
  if (c < count) body(c, FirstLanes{static_cast<int>(count - c)});
}

// A short row of a wide matrix is several cache misses, which processors do not foresee: asks for the row that comes
// kRowsAhead later.
constexpr int64_t kRowsAhead = 6;
static inline void fetch_row(const float* row, int64_t count) {
  for (int64_t c = 0; c < count; c += 16) __builtin_prefetch(row + c, 0, 3);
}

// The sum of term(c, lanes) over all vectors, lane by lane; in four parts, as an addition takes four cycles.
template <typename T, typename F>
static inline T sum_vectors(int64_t count, T zero, const F& term) {
  T s0 = zero, s1 = zero, s2 = zero, s3 = zero;
  int64_t c = 0;
  for (; c + 4 * kWidth <= count; c += 4 * kWidth) {
    s0 = s0 + term(c, AllLanes{});
    s1 = s1 + term(c + kWidth, AllLanes{});
    s2 = s2 + term(c + 2 * kWidth, AllLanes{});
    s3 = s3 + term(c + 3 * kWidth, AllLanes{});
  }
  for (; c + kWidth <= count; c += kWidth) s0 = s0 + term(c, AllLanes{});
  if (c < count) s1 = s1 + term(c, FirstLanes{static_cast<int>(count - c)});
  return (s0 + s1) + (s2 + s3);
}

// Elements that one thread handles at a time; what has no more is done by the calling thread. 64 KiB: some
// microseconds of work, many times the cost of handing it out.
constexpr int64_t kChunkElements = 16384;

// Calls body(n, thread) for every row of a matrix (N,C).
template <typename F>
static inline void parallel_rows(Execution& execution, int64_t N, int64_t C, const F& body) {
  int64_t grain = C < kChunkElements ? kChunkElements / (C > 0 ? C : 1) : 1;
  parallel_for(execution, N, grain, [&](int64_t begin, int64_t end, int thread) {
    for (int64_t n = begin; n < end; n++) body(n, thread);
  });
}

// Calls body(n, c, count) for pieces of rows, elements c to c + count - 1 of row n, that cover (N,C).
template <typename F>
static inline void parallel_pieces(Execution& execution, int64_t N, int64_t C, const F& body) {
  int64_t pieces = (C + kChunkElements - 1) / kChunkElements;  // of a row
  parallel_rows(execution, N * pieces, C < kChunkElements ? C : kChunkElements, [&](int64_t piece, int) {
    int64_t n = piece / pieces, c = piece % pieces * kChunkElements;
    body(n, c, c + kChunkElements < C ? kChunkElements : C - c);
  });
}

}  // namespace kvasir::KVASIR_ISA
