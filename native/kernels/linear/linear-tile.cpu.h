#pragma once

// The sums of one tile: a few rows of x with the outputs of a panel, over the whole of K.
//
// Sums stay in registers: all of them, or half a panel's. A pair of columns of the panel is loaded (and
// widened to f32) once and used for every row; each sum takes its products with k ascending, so that it does
// not depend on the tile's form.

#include "device/cpu/vector.h"
#include "types/panels.h"

namespace kvasir::KVASIR_ISA {

// Vectors that make up a column of a panel.
constexpr int kPanelVectors = static_cast<int>(kPanelRows) / kWidth;

// A tile has up to kTileRows rows and takes kTileVectors vectors of the panel at a time: as many sums as
// leave registers for the weights and one element of x. One of up to kWideRows rows takes all, and so reads
// the panel once, in address order.
#if defined(__AVX512F__)  // 32 registers
constexpr int kTileRows = 12, kTileVectors = 2, kWideRows = 12;
#elif defined(__AVX2__)     // 16 registers
constexpr int kTileRows = 6, kTileVectors = 2, kWideRows = 2;
#elif defined(__aarch64__)  // 32 registers
constexpr int kTileRows = 6, kTileVectors = 4, kWideRows = 3;
#else                       // 16 registers, of which a product takes one
constexpr int kTileRows = 2, kTileVectors = 4, kWideRows = 1;
#endif

// Rows of x come in blocks of kFloatColumns columns, in each block one row after another: 64 bytes of a row,
// so that packing copies whole lines. (A single row is such a sequence of blocks as it lies.)
constexpr int64_t kFloatColumns = 16;

// Weights brought into the cache while a tile is multiplied: for each line of the panel that the tile reads,
// the one at `next`, which then moves on by `step` bytes.
struct Fetch {
  const char* next;
  int64_t step;
};

// How a weight type's panel is read: column C (0 or 1) of a pair of columns, vector v of the panel's rows.
struct F32Weights {
  using Element = float;
  template <int C>
  static inline Vec load_column(const float* pair, int v) {
    return load(pair + C * kPanelRows + v * kWidth);
  }
};

struct F16Weights {
  using Element = uint16_t;
  template <int C>
  static inline Vec load_column(const uint16_t* pair, int v) {
    return load_f16(pair + C * kPanelRows + v * kWidth);
  }
};

struct BF16Weights {
  using Element = uint16_t;
  template <int C>
  static inline Vec load_column(const uint16_t* pair, int v) {
    Vec first, second;
    load_bf16_pairs(pair + 2 * v * kWidth, first, second);
    return C == 0 ? first : second;
  }
};

// Adds column C of a pair. The fewer of rows and vectors stay in registers while the others pass. (Every loop
// over `sums`, here and below, is unrolled: one that is not would put them all into memory.)
template <typename W, int C, int kRows, int kVectors>
static inline void add_column(const float* x, const typename W::Element* pair, int v0,
                              Vec (&sums)[kRows][kVectors]) {
  if constexpr (kRows < kVectors) {
    Vec a[kRows];
#pragma GCC unroll 32
    for (int r = 0; r < kRows; r++) a[r] = broadcast(x[r * kFloatColumns + C]);
#pragma GCC unroll 32
    for (int v = 0; v < kVectors; v++) {
      const Vec w = W::template load_column<C>(pair, v0 + v);
#pragma GCC unroll 32
      for (int r = 0; r < kRows; r++) sums[r][v] = fma(a[r], w, sums[r][v]);
    }
  } else {
    Vec w[kVectors];
#pragma GCC unroll 32
    for (int v = 0; v < kVectors; v++) w[v] = W::template load_column<C>(pair, v0 + v);
#pragma GCC unroll 32
    for (int r = 0; r < kRows; r++) {
      const Vec a = broadcast(x[r * kFloatColumns + C]);
#pragma GCC unroll 32
      for (int v = 0; v < kVectors; v++) sums[r][v] = fma(a, w[v], sums[r][v]);
    }
  }
}

// Vectors v0 to v0 + kVectors - 1 of a tile.
template <typename W, int kRows, int kVectors>
static inline void multiply_vectors(const float* x, const typename W::Element* pair, int64_t K, int v0,
                                    Fetch fetch, float* result) {
  constexpr int kPairLines =
      static_cast<int>(2 * kPanelRows * sizeof(typename W::Element)) / 64 * kVectors / kPanelVectors;
  Vec sums[kRows][kVectors];
#pragma GCC unroll 32
  for (int r = 0; r < kRows; r++)
#pragma GCC unroll 32
    for (int v = 0; v < kVectors; v++) sums[r][v] = zero();
  for (int64_t k = 0; k < K; k += kFloatColumns, x += kRows * kFloatColumns) {
    const int64_t columns = K - k < kFloatColumns ? K - k : kFloatColumns;
    const float* a = x;
    for (const float* end = a + columns / 2 * 2; a != end; a += 2, pair += 2 * kPanelRows) {
#pragma GCC unroll 4
      for (int i = 0; i < kPairLines; i++) __builtin_prefetch(fetch.next + i * fetch.step, 0, 2);
      fetch.next += kPairLines * fetch.step;
      add_column<W, 0>(a, pair, v0, sums);
      add_column<W, 1>(a, pair, v0, sums);
    }
    if (columns % 2) add_column<W, 0>(a, pair, v0, sums);
  }
#pragma GCC unroll 32
  for (int r = 0; r < kRows; r++)
#pragma GCC unroll 32
    for (int v = 0; v < kVectors; v++) store(result + r * kPanelRows + (v0 + v) * kWidth, sums[r][v]);
}

// result[r][n] = sum_k x[r][k] panel[n][k], rows of kPanelRows.
using MultiplyTile = void(const void* x, const void* panel, int64_t K, Fetch fetch, float* result);

template <typename W, int kRows>
static void multiply_tile(const void* x, const void* panel, int64_t K, Fetch fetch, float* result) {
  using Element = typename W::Element;
  constexpr int kVectors = kRows <= kWideRows ? kPanelVectors : kTileVectors;
  const int64_t pass_lines =
      K * kPanelRows * static_cast<int64_t>(sizeof(Element)) / 64 * kVectors / kPanelVectors;
  for (int v0 = 0; v0 < kPanelVectors; v0 += kVectors) {
    multiply_vectors<W, kRows, kVectors>(static_cast<const float*>(x), static_cast<const Element*>(panel), K,
                                         v0, fetch, result);
    fetch.next += pass_lines * fetch.step;
  }
}

}  // namespace kvasir::KVASIR_ISA
