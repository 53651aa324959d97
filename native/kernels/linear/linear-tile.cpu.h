#pragma once

// The sums of one tile: a few rows of x with the 32 outputs of a panel, over the whole of K.
//
// All sums of the tile stay in registers; a pair of columns of the panel is loaded (and widened to f32) once and
// used for every row. Rows come as packed by linear.cpu.cpp: blocks of kPackedColumns columns, in a block one row
// after another. A row of x alone is packed as it lies.

#include <utility>

#include "device/cpu/vector.h"
#include "runtime/panels.h"

namespace kvasir::KVASIR_ISA {

// 64 bytes of a row, so that packing copies lines and neither moves single elements nor leaves rows a power of two
// apart, where a tile of them would share one set of the cache.
constexpr int64_t kPackedColumns = 16;

constexpr int64_t packed_elements(int64_t rows, int64_t K) {
  return rows * ((K + kPackedColumns - 1) / kPackedColumns * kPackedColumns);
}

// Vectors that make up a column of a panel.
constexpr int kPanelVectors = static_cast<int>(kPanelRows) / kWidth;

// The compute-first tile: kTileRows rows of x by kTileVectors vectors, as many as leave registers for the weights
// and one element of x. The bandwidth-first one, for up to kWideRows rows, reads the panel in address order.
#if defined(__AVX512F__)  // 32 registers
constexpr int kTileRows = 12, kTileVectors = 2, kWideRows = 12;
#elif defined(__AVX2__)  // 16 registers
constexpr int kTileRows = 6, kTileVectors = 2, kWideRows = 2;
#else  // 16 registers, and a product needs one of its own
constexpr int kTileRows = 2, kTileVectors = 4, kWideRows = 1;
#endif

// How a weight type's panel is read: element C (0 or 1) of a pair of columns, in vector v of the panel's rows.
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
static inline void add_column(const float* x, const typename W::Element* pair, int v0, Vec (&sums)[kRows][kVectors]) {
  Vec w[kVectors];
#pragma GCC unroll 32
  for (int v = 0; v < kVectors; v++) w[v] = W::template load_column<C>(pair, v0 + v);
#pragma GCC unroll 32
  for (int r = 0; r < kRows; r++) {
    const Vec a = broadcast(x[r * kPackedColumns + C]);
#pragma GCC unroll 32
    for (int v = 0; v < kVectors; v++) sums[r][v] = fma(a, w[v], sums[r][v]);
  }
}

// Vectors v0 to v0 + kVectors - 1 of the tile. (Every loop over `sums` is unrolled: one that is not would put them
// all into memory.)
template <typename W, int kRows, int kVectors>
static inline void multiply_vectors(const float* x, const typename W::Element* pair, int64_t K, int v0, float* y) {
  Vec sums[kRows][kVectors];
#pragma GCC unroll 32
  for (int r = 0; r < kRows; r++)
#pragma GCC unroll 32
    for (int v = 0; v < kVectors; v++) sums[r][v] = zero();
  for (int64_t k = 0; k < K; k += kPackedColumns, x += kRows * kPackedColumns) {
    const int64_t columns = K - k < kPackedColumns ? K - k : kPackedColumns;
    const float* a = x;
    const float* end = x + (columns & ~int64_t{1});
    for (; a != end; a += 2, pair += 2 * kPanelRows) {
      add_column<W, 0>(a, pair, v0, sums);
      add_column<W, 1>(a, pair, v0, sums);
    }
    if (columns & 1) add_column<W, 0>(a, pair, v0, sums);
  }
#pragma GCC unroll 32
  for (int r = 0; r < kRows; r++)
#pragma GCC unroll 32
    for (int v = 0; v < kVectors; v++) store(y + r * kPanelRows + (v0 + v) * kWidth, sums[r][v]);
}

// sums[r][n] = sum_k x[r][k] panel[n][k] for the packed rows `x` and n from 0 to 31.
using MultiplyTile = void(const float* x, const void* panel, int64_t K, float* sums);

template <typename W, int kRows>
static void multiply_tile(const float* x, const void* panel, int64_t K, float* sums) {
  constexpr int kVectors = kRows <= kWideRows ? kPanelVectors : kTileVectors;
  for (int v0 = 0; v0 < kPanelVectors; v0 += kVectors)
    multiply_vectors<W, kRows, kVectors>(x, static_cast<const typename W::Element*>(panel), K, v0, sums);
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
