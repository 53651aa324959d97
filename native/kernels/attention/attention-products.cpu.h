#pragma once

// The two matrix products of attention on vector registers: scores = q K, and sums += p V.
//
// Both are one loop. A group of up to kGroupRows rows keeps all sums of its slice of columns in registers,
// and each step loads one row of the block (the 32 positions of a channel, or the channels of a position),
// widens it to f32 once, and uses it for every row. Each sum takes its steps in ascending order by one FMA
// each, whatever the number of rows, so that a row's bits do not depend on its company.
//
// A group of few rows waits for memory. Blocks are pieces of some kilobytes, too short for the processor's
// own prefetching, so every load asks for the same place in a later piece, into the second-level cache: the
// first has too few line buffers to hide the latency (decode: 0.4 of the read bandwidth with them, 0.9
// without).

#include <type_traits>
#include <utility>

#include "kernels/attention/lane-order.cpu.h"
#include "kernels/kv-append/cache-element.cpu.h"
#include "kernels/kv-append/kv-cache.h"

namespace kvasir::KVASIR_ISA {

// Positions that share a rescaling of the sums; tiles start at multiples of it.
constexpr int64_t kKeyTile = 128;
constexpr int64_t kTileBlocks = kKeyTile / kBlockTokens;

// Channels of q are packed by so many for all rows of a group, 64 bytes a row.
constexpr int64_t kPackedChannels = 16;

// Rows that share each load, as many as leave registers for a row of the block and one broadcast element. Up
// to kWideRows of them take four vectors of columns at once instead of two: more sums in flight, longer runs
// of memory.
#if defined(__AVX512F__) || defined(__aarch64__)  // 32 registers
constexpr int kGroupRows = 12, kWideRows = 6;
#elif defined(__AVX2__)  // 16 registers
constexpr int kGroupRows = 6, kWideRows = 2;
#else                    // 16 registers, and a product needs one of its own
constexpr int kGroupRows = 4, kWideRows = 2;
#endif

template <typename T, int kVectors>
static inline void load_columns(const T* p, Vec (&columns)[kVectors]) {
#pragma GCC unroll 32
  for (int v = 0; v < kVectors; v++) columns[v] = load_elements(p + v * kWidth);
}

// Pairs of vectors hold even and odd columns, until in_column_order.
template <int kVectors>
static inline void load_columns(const BF16Element* p, Vec (&columns)[kVectors]) {
  static_assert(kVectors == 1 || kVectors % 2 == 0);
  if constexpr (kVectors == 1) {
    columns[0] = load_elements(p);
  } else {
    const uint16_t* bits = reinterpret_cast<const uint16_t*>(p);
#pragma GCC unroll 32
    for (int v = 0; v < kVectors; v += 2) load_bf16_pairs(bits + v * kWidth, columns[v], columns[v + 1]);
  }
}

template <typename T, int kRows, int kVectors>
static inline void in_loaded_order(Vec (&sums)[kRows][kVectors]) {
  if constexpr (std::is_same_v<T, BF16Element> && kVectors > 1) {
#pragma GCC unroll 32
    for (int r = 0; r < kRows; r++)
#pragma GCC unroll 32
      for (int v = 0; v < kVectors; v += 2) deinterleave(sums[r][v], sums[r][v + 1]);
  }
}

template <typename T, int kRows, int kVectors>
static inline void in_column_order(Vec (&sums)[kRows][kVectors]) {
  if constexpr (std::is_same_v<T, BF16Element> && kVectors > 1) {
#pragma GCC unroll 32
    for (int r = 0; r < kRows; r++)
#pragma GCC unroll 32
      for (int v = 0; v < kVectors; v += 2) interleave(sums[r][v], sums[r][v + 1]);
  }
}

// sums[r][v] += sum_k a[r * kRowStride + k * kStepStride] b[k * b_stride + v * kWidth + lane]
template <int kRowStride, int kStepStride, typename T, int kRows, int kVectors>
static inline void multiply(const float* a, const T* b, int64_t b_stride, int64_t steps, const T* ahead,
                            Vec (&sums)[kRows][kVectors]) {
  constexpr int kLine = 64 / sizeof(T);
  for (int64_t k = 0; k < steps; k++) {
    Vec columns[kVectors];
    load_columns(b, columns);
#pragma GCC unroll 32
    for (int v = 0; v < kVectors * kWidth; v += kLine) __builtin_prefetch(ahead + v, 0, 2);
#pragma GCC unroll 32
    for (int r = 0; r < kRows; r++) {
      const Vec x = broadcast(a[r * kRowStride]);
#pragma GCC unroll 32
      for (int v = 0; v < kVectors; v++) sums[r][v] = fma(x, columns[v], sums[r][v]);
    }
    a += kStepStride;
    b += b_stride;
    ahead += b_stride;
  }
}

// Of one block.
template <typename T>
struct ScoreProduct {
  const float* q;       // (D/kPackedChannels,rows,kPackedChannels)
  const T* keys;        // (D,kBlockTokens)
  const T* ahead;       // what to prefetch
  float* scores;        // (rows,kBlockTokens), rows kKeyTile apart
  const float* scales;  // (kBlockTokens,): of int8 keys
  int64_t D;
};

// Of one tile of keys, in which positions count from its start.
template <typename T>
struct ValueProduct {
  const float* p;                // (rows,kKeyTile)
  const T* values[kTileBlocks];  // (kBlockTokens,DP) each
  const T* ahead[kTileBlocks];   // what to prefetch
  const float* rescale;          // (rows,): what the sums so far are multiplied by
  float* y;                      // (rows,DP): the sums
  int64_t first, last;           // positions from first to last - 1
  int64_t DP;
};

template <typename T, int kRows, int kVectors>
static inline void score_slice(const ScoreProduct<T>& s, int64_t column) {
  Vec sums[kRows][kVectors];
#pragma GCC unroll 32
  for (int r = 0; r < kRows; r++)
#pragma GCC unroll 32
    for (int v = 0; v < kVectors; v++) sums[r][v] = zero();
  for (int64_t d = 0; d < s.D; d += kPackedChannels) {
    const int64_t steps = s.D - d < kPackedChannels ? s.D - d : kPackedChannels,
                  offset = d * kBlockTokens + column;
    multiply<kPackedChannels, 1>(s.q + d * kRows, s.keys + offset, kBlockTokens, steps, s.ahead + offset,
                                 sums);
  }
  in_column_order<T>(sums);
#pragma GCC unroll 32
  for (int r = 0; r < kRows; r++)
#pragma GCC unroll 32
    for (int v = 0; v < kVectors; v++) {
      Vec score = sums[r][v];
      if constexpr (std::is_same_v<T, Int8Element>) score = score * load(s.scales + column + v * kWidth);
      store(s.scores + r * kKeyTile + column + v * kWidth, score);
    }
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
  in_loaded_order<T>(sums);
  for (int64_t j = s.first; j < s.last;) {
    const int64_t block = j / kBlockTokens, end = (block + 1) * kBlockTokens;
    const int64_t steps = (end < s.last ? end : s.last) - j, offset = j % kBlockTokens * s.DP + column;
    multiply<kKeyTile, 1>(s.p + j, s.values[block] + offset, s.DP, steps, s.ahead[block] + offset, sums);
    j += steps;
  }
  in_column_order<T>(sums);
#pragma GCC unroll 32
  for (int r = 0; r < kRows; r++)
#pragma GCC unroll 32
    for (int v = 0; v < kVectors; v++) store(s.y + r * s.DP + column + v * kWidth, sums[r][v]);
}

template <typename T, int kRows>
static void score_rows(const ScoreProduct<T>& s) {
  constexpr int kBlockVectors = static_cast<int>(kBlockTokens) / kWidth;
  constexpr int kVectors = kRows <= kWideRows && kBlockVectors >= 4 ? 4 : 2;
  for (int v = 0; v < kBlockVectors; v += kVectors) score_slice<T, kRows, kVectors>(s, v * kWidth);
}

template <typename T, int kRows>
static void value_rows(const ValueProduct<T>& s) {
  constexpr int kVectors = kRows <= kWideRows ? 4 : 2;
  int64_t column = 0;
  for (; column + kVectors * kWidth <= s.DP; column += kVectors * kWidth)
    value_slice<T, kRows, kVectors>(s, column);
  for (; column < s.DP; column += kWidth) value_slice<T, kRows, 1>(s, column);
}

// By the number of rows less one.
template <typename T>
struct ProductKernels {
  void (*scores[kGroupRows])(const ScoreProduct<T>&);
  void (*values[kGroupRows])(const ValueProduct<T>&);
};

template <typename T, int... kRows>
static constexpr ProductKernels<T> product_kernels(std::integer_sequence<int, kRows...>) {
  return {{score_rows<T, kRows + 1>...}, {value_rows<T, kRows + 1>...}};
}

template <typename T>
constexpr ProductKernels<T> kProductKernels =
    product_kernels<T>(std::make_integer_sequence<int, kGroupRows>());

}  // namespace kvasir::KVASIR_ISA
