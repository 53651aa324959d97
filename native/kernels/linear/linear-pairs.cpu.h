#pragma once

// Tiles of bf16 weights with x rounded to bf16, for processors that multiply pairs of bf16 numbers: an instruction adds
// the products of two columns to a lane's f32 sum. Subnormal numbers count as zeros in it.

#include "device/cpu/vector.h"
#include "kernels/linear/linear-tile.cpu.h"
#include "types/panels.h"

namespace kvasir::KVASIR_ISA {

// Rows of x come in blocks of kPairColumns columns, padded with zeros, in each block one row after another.
constexpr int64_t kPairColumns = 32;

// To nearest, ties to even; subnormal numbers to zero.
static inline uint16_t round_operand(float x) {
  const float magnitude = x < 0 ? -x : x;
  return to_bf16(magnitude < 0x1p-126f ? 0.0f : x);
}

#if defined(__AVX512BF16__)

template <int kRows, int kVectors>
static inline void multiply_pair_vectors(const uint16_t* x, const uint16_t* pair, int64_t K, int v0,
                                         Fetch fetch, float* result) {
  constexpr int kLines = kVectors;  // of a pair of columns
  Vec sums[kRows][kVectors];
#pragma GCC unroll 32
  for (int r = 0; r < kRows; r++)
#pragma GCC unroll 32
    for (int v = 0; v < kVectors; v++) sums[r][v] = zero();
  for (int64_t k = 0; k < K; k += kPairColumns, x += kRows * kPairColumns) {
    const int64_t pairs = ((K - k < kPairColumns ? K - k : kPairColumns) + 1) / 2;
    const uint16_t* a = x;
    for (const uint16_t* end = a + 2 * pairs; a != end; a += 2, pair += 2 * kPanelRows) {
#pragma GCC unroll 4
      for (int i = 0; i < kLines; i++) __builtin_prefetch(fetch.next + i * fetch.step, 0, 2);
      fetch.next += kLines * fetch.step;
      __m512bh w[kVectors];
#pragma GCC unroll 32
      for (int v = 0; v < kVectors; v++) w[v] = (__m512bh)_mm512_loadu_si512(pair + 2 * (v0 + v) * kWidth);
#pragma GCC unroll 32
      for (int r = 0; r < kRows; r++) {
        int32_t two;
        std::memcpy(&two, a + r * kPairColumns, 4);
        const __m512bh both = (__m512bh)_mm512_set1_epi32(two);
#pragma GCC unroll 32
        for (int v = 0; v < kVectors; v++) sums[r][v].v = _mm512_dpbf16_ps(sums[r][v].v, w[v], both);
      }
    }
  }
#pragma GCC unroll 32
  for (int r = 0; r < kRows; r++)
#pragma GCC unroll 32
    for (int v = 0; v < kVectors; v++) store(result + r * kPanelRows + (v0 + v) * kWidth, sums[r][v]);
}

template <int kRows>
static void multiply_pair_tile(const void* x, const void* panel, int64_t K, Fetch fetch, float* result) {
  static_assert(kPanelVectors == kTileVectors);  // one pass
  multiply_pair_vectors<kRows, kPanelVectors>(static_cast<const uint16_t*>(x),
                                              static_cast<const uint16_t*>(panel), K, 0, fetch, result);
}

#endif

}  // namespace kvasir::KVASIR_ISA
