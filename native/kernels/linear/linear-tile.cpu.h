#pragma once

// The sums of one tile: a few rows of x with the 32 outputs of a panel, over the whole of K.
//
// All sums of the tile stay in registers; a pair of columns of the panel is loaded (and widened to f32) once and
// used for every row.

#include <utility>

#include "device/cpu/vector.h"
#include "runtime/panels.h"

namespace kvasir::KVASIR_ISA {

// Vectors that make up a column of a panel.
constexpr int kPanelVectors = static_cast<int>(kPanelRows) / kWidth;

// A tile of more than kWideRows rows covers kTileVectors of them at a time: as many sums as leave registers for the
// weights and one element of x. One of fewer rows covers all, and so reads the panel once, in address order.
// From kFetchRows rows on (by the size of a weight) arithmetic takes longer than memory, and a tile fetches weights
// ahead. Measured, 12 rows of f32: 18 % faster; 4 rows: 40 % slower.
#if defined(__AVX512F__)  // 32 registers
constexpr int kTileRows = 12, kTileVectors = 2, kWideRows = 12;
template <typename Element>
constexpr int kFetchRows = sizeof(Element) == 4 ? 7 : 5;
#elif defined(__AVX2__)  // 16 registers
constexpr int kTileRows = 6, kTileVectors = 2, kWideRows = 2;
#ifndef F2
#define F2 3
#endif
template <typename Element>
constexpr int kFetchRows = F2;
#else  // 16 registers, and a product needs one of its own
constexpr int kTileRows = 2, kTileVectors = 4, kWideRows = 1;
template <typename Element>
constexpr int kFetchRows = 3;
#endif

// Rows of x come packed in blocks of kBlockColumns columns, in each block one row after another: 64 bytes, so that
// packing copies whole lines. (A single row is packed as it lies.)
constexpr int64_t kBlockColumns = 16;

// Weights to bring into the cache while a tile is multiplied: for each line of the panel at hand one at `next`,
// which then moves on by `step` bytes.
struct Fetch {
  const char* next;
  int64_t step;
};

// How a weight type's panel is read: column C (0 or 1) of a pair of columns, in vector v of the panel's rows.
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

template <typename W, int C, int kRows, int kVectors>
static inline void add_column(const float* x, const typename W::Element* pair, int v0,
                              Vec (&sums)[kRows][kVectors]) {
  Vec w[kVectors];
#pragma GCC unroll 32
  for (int v = 0; v < kVectors; v++) w[v] = W::template load_column<C>(pair, v0 + v);
#pragma GCC unroll 32
  for (int r = 0; r < kRows; r++) {
    const Vec a = broadcast(x[r * kBlockColumns + C]);
#pragma GCC unroll 32
    for (int v = 0; v < kVectors; v++) sums[r][v] = fma(a, w[v], sums[r][v]);
  }
}

// Vectors v0 to v0 + kVectors - 1 of the tile. (Every loop over `sums` is unrolled: one that is not would put them
// all into memory.)
template <typename W, int kRows, int kVectors>
static inline void multiply_vectors(const float* x, const typename W::Element* pair, int64_t K, int v0, Fetch fetch,
                                    float* y) {
  constexpr int kLines =
      2 * static_cast<int>(kPanelRows * sizeof(typename W::Element)) / 64 * kVectors / kPanelVectors;
  Vec sums[kRows][kVectors];
#pragma GCC unroll 32
  for (int r = 0; r < kRows; r++)
#pragma GCC unroll 32
    for (int v = 0; v < kVectors; v++) sums[r][v] = zero();
  for (int64_t k = 0; k < K; k += kBlockColumns, x += kRows * kBlockColumns) {
    const int64_t columns = K - k < kBlockColumns ? K - k : kBlockColumns;
    const float* a = x;
    for (const float* end = a + columns / 2 * 2; a != end; a += 2, pair += 2 * kPanelRows) {
      if constexpr (kRows >= kFetchRows<typename W::Element>) {
#pragma GCC unroll 4
        for (int i = 0; i < kLines; i++) __builtin_prefetch(fetch.next + i * fetch.step, 0, 2);
        fetch.next += kLines * fetch.step;
      }
      add_column<W, 0>(a, pair, v0, sums);
      add_column<W, 1>(a, pair, v0, sums);
    }
    if (columns % 2) add_column<W, 0>(a, pair, v0, sums);
  }
#pragma GCC unroll 32
  for (int r = 0; r < kRows; r++)
#pragma GCC unroll 32
    for (int v = 0; v < kVectors; v++) store(y + r * kPanelRows + (v0 + v) * kWidth, sums[r][v]);
}

// sums[r][n] = sum_k x[r][k] panel[n][k] for the rows of x and n from 0 to 31.
using MultiplyTile = void(const float* x, const void* panel, int64_t K, Fetch fetch, float* sums);

template <typename W, int kRows>
static void multiply_tile(const float* x, const void* panel, int64_t K, Fetch fetch, float* sums) {
  constexpr int kVectors = kRows <= kWideRows ? kPanelVectors : kTileVectors;
  const int64_t bytes = panel_bytes(sizeof(typename W::Element) == 4 ? DType::kF32 : DType::kF16, K);
  for (int v0 = 0; v0 < kPanelVectors; v0 += kVectors) {
    multiply_vectors<W, kRows, kVectors>(x, static_cast<const typename W::Element*>(panel), K, v0, fetch, sums);
    fetch.next += bytes / 64 * fetch.step * kVectors / kPanelVectors;
  }
}

// By the number of rows less one.
struct TileKernels {
  MultiplyTile* by_rows[kTileRows];
};

template <typename W, int... kRows>
static constexpr TileKernels tile_kernels(std::integer_sequence<int, kRows...>) {
  return {{multiply_tile<W, kRows + 1>...}};
}

template <typename W>
constexpr TileKernels kTileKernels = tile_kernels<W>(std::make_integer_sequence<int, kTileRows>());

}  // namespace kvasir::KVASIR_ISA
