#pragma once

// The two matrix products of attention on vector registers: scores = q K, and sums += p V.
//
// Both are one loop. A group of up to kGroupRows rows keeps all sums of its slice of columns in registers, and each
// step loads one row of the block (the 32 positions of a channel, or the channels of a position), widens it to f32
// once, and uses it for every row. Each sum takes its steps in ascending order by one FMA each, whatever the number
// of rows, so that a row's bits do not depend on its company.
//
// A group of few rows only waits for memory. Blocks are pieces of some kilobytes, too short for the processor's own
// prefetching, so every load asks for the same place in a later piece.

#include <utility>

#include "device/cpu/vector.h"
#include "kernels/kv-append/kv-cache.h"

namespace kvasir::KVASIR_ISA {

// Positions that share a rescaling of the sums; tiles start at multiples of it.
constexpr int64_t kKeyTile = 128;
constexpr int64_t kTileBlocks = kKeyTile / kBlockTokens;

// Rows that share each load, as many as leave registers for a row of the block and one broadcast element. Up to
// kWideRows of them take four vectors of columns at once instead of two: more sums in flight, longer runs of memory.
#if defined(__AVX512F__)  // 32 registers
constexpr int kGroupRows = 12, kWideRows = 6;
#elif defined(__AVX2__)  // 16 registers
constexpr int kGroupRows = 6, kWideRows = 2;
#else  // 16 registers, and a product needs one of its own
constexpr int kGroupRows = 4, kWideRows = 2;
#endif

static inline void interleave(Vec& a, Vec& b) {
  const __m512i low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  const __m512i high = _mm512_setr_epi32(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
  const __m512 first = _mm512_permutex2var_ps(a.v, low, b.v);
  b.v = _mm512_permutex2var_ps(a.v, high, b.v);
  a.v = first;
}
static inline void deinterleave(Vec& a, Vec& b) {
  const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  const __m512i odd = _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
  const __m512 first = _mm512_permutex2var_ps(a.v, even, b.v);
  b.v = _mm512_permutex2var_ps(a.v, odd, b.v);
  a.v = first;
}
template <int kVectors> static inline void load_columns(const float* p, Vec (&c)[kVectors]) {
#pragma GCC unroll 32
  for (int v = 0; v < kVectors; v++) c[v] = load(p + v * kWidth);
}
template <int kVectors> static inline void load_columns(const uint16_t* p, Vec (&c)[kVectors]) {
  if constexpr (kVectors == 1) c[0] = load_bf16(p);
  else {
#pragma GCC unroll 32
  for (int v = 0; v < kVectors; v += 2) load_bf16_pairs(p + v * kWidth, c[v], c[v + 1]);
  }
}
template <int kRows, int kVectors> static inline void to_natural(const float*, Vec (&)[kRows][kVectors]) {}
template <int kRows, int kVectors> static inline void to_paired(const float*, Vec (&)[kRows][kVectors]) {}
template <int kRows, int kVectors> static inline void to_natural(const uint16_t*, Vec (&s)[kRows][kVectors]) {
#pragma GCC unroll 32
  for (int r = 0; r < kRows; r++)
#pragma GCC unroll 32
  for (int v = 0; v + 1 < kVectors; v += 2) interleave(s[r][v], s[r][v+1]);
}
template <int kRows, int kVectors> static inline void to_paired(const uint16_t*, Vec (&s)[kRows][kVectors]) {
#pragma GCC unroll 32
  for (int r = 0; r < kRows; r++)
#pragma GCC unroll 32
  for (int v = 0; v + 1 < kVectors; v += 2) deinterleave(s[r][v], s[r][v+1]);
}

// sums[r][v] += sum_k a[r * kRowStride + k * kStepStride] b[k * b_stride + v * kWidth + lane]
template <int kRowStride, int kStepStride, typename T, int kRows, int kVectors>
static inline void multiply(const float* a, const T* b, int64_t b_stride, int64_t steps, const T* ahead,
                            Vec (&sums)[kRows][kVectors]) {
  constexpr int kLine = 64 / sizeof(T);
  for (int64_t k = 0; k < steps; k++) {
    Vec column[kVectors];
    load_columns(b, column);
#pragma GCC unroll 32
    for (int v = 0; v < kVectors; v++) {
      if (v * kWidth % kLine == 0) __builtin_prefetch(ahead + v * kWidth, 0, 2);
    }
#pragma GCC unroll 32
    for (int r = 0; r < kRows; r++) {
      const Vec x = broadcast(a[r * kRowStride]);
#pragma GCC unroll 32
      for (int v = 0; v < kVectors; v++) sums[r][v] = fma(x, column[v], sums[r][v]);
    }
    a += kStepStride;
    b += b_stride;
    ahead += b_stride;
  }
}

template <typename T>
struct ScoreProduct {
  const float* q;   // (D,rows) scaled
  const T* keys;    // (D,kBlockTokens)
  const T* ahead;   // the piece to prefetch
  float* scores;    // (rows,kBlockTokens), rows kKeyTile apart
  int64_t D;
};

template <typename T>
struct ValueProduct {
  const float* p;                 // (rows,kKeyTile)
  const T* values[kTileBlocks];   // (kBlockTokens,DP) each
  const T* ahead[kTileBlocks];    // the pieces to prefetch
  const float* rescale;           // (rows): what the sums so far are multiplied by
  float* y;                       // (rows,DP) sums
  int64_t first, last, DP;        // positions of the tile
};

template <typename T, int kRows, int kVectors>
static inline void score_slice(const ScoreProduct<T>& s, int64_t column) {
  Vec sums[kRows][kVectors];
#pragma GCC unroll 32
  for (int r = 0; r < kRows; r++)
#pragma GCC unroll 32
    for (int v = 0; v < kVectors; v++) sums[r][v] = zero();
  multiply<1, kRows>(s.q, s.keys + column, kBlockTokens, s.D, s.ahead + column, sums);
  to_natural(s.keys, sums);
#pragma GCC unroll 32
  for (int r = 0; r < kRows; r++)
#pragma GCC unroll 32
    for (int v = 0; v < kVectors; v++) store(s.scores + r * kKeyTile + column + v * kWidth, sums[r][v]);
}

template <typename T, int kRows, int kVectors>
static inline void value_slice(const ValueProduct<T>& s, int64_t column) {
  Vec sums[kRows][kVectors];
#pragma GCC unroll 32
  for (int r = 0; r < kRows; r++) {
    const Vec rescale = broadcast(s.rescale[r]);
#pragma GCC unroll 32
    for (int v = 0; v < kVectors; v++) sums[r][v] = load(s.y + r * s.DP + column + v * kWidth) * rescale;
  }
  to_paired(s.values[0], sums);
  for (int64_t j = s.first; j < s.last;) {
    const int64_t block = j / kBlockTokens, place = j % kBlockTokens, end = (block + 1) * kBlockTokens;
    const int64_t steps = (end < s.last ? end : s.last) - j, offset = place * s.DP + column;
    multiply<kKeyTile, 1>(s.p + j, s.values[block] + offset, s.DP, steps, s.ahead[block] + offset, sums);
    j += steps;
  }
  to_natural(s.values[0], sums);
#pragma GCC unroll 32
  for (int r = 0; r < kRows; r++)
#pragma GCC unroll 32
    for (int v = 0; v < kVectors; v++) store(s.y + r * s.DP + column + v * kWidth, sums[r][v]);
}

template <typename T, int kRows>
static void score_rows(const ScoreProduct<T>& s) {
  constexpr int kBlockVectors = kBlockTokens / kWidth;
  constexpr int kVectors = kRows <= kWideRows && kBlockVectors >= 4 ? 4 : 2;
  for (int64_t v = 0; v < kBlockVectors; v += kVectors) score_slice<T, kRows, kVectors>(s, v * kWidth);
}

template <typename T, int kRows>
static void value_rows(const ValueProduct<T>& s) {
  constexpr int kVectors = kRows <= kWideRows ? 4 : 2;
  const int64_t vectors = s.DP / kWidth;
  int64_t v = 0;
  for (; v + kVectors <= vectors; v += kVectors) value_slice<T, kRows, kVectors>(s, v * kWidth);
  for (; v < vectors; v++) value_slice<T, kRows, 1>(s, v * kWidth);
}

// By the number of rows less one.
template <typename T>
struct Products {
  void (*scores[kGroupRows])(const ScoreProduct<T>&);
  void (*values[kGroupRows])(const ValueProduct<T>&);
};

template <typename T, int... kRows>
static constexpr Products<T> products(std::integer_sequence<int, kRows...>) {
  return {{score_rows<T, kRows + 1>...}, {value_rows<T, kRows + 1>...}};
}

template <typename T>
constexpr Products<T> kProducts = products<T>(std::make_integer_sequence<int, kGroupRows>());

}  // namespace kvasir::KVASIR_ISA
