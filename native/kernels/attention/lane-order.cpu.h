#pragma once

// bf16 is widened to f32 a pair of lanes at a time (load_bf16_pairs), which takes half the instructions of
// widening it in order, but leaves even and odd elements in two vectors. Sums are formed in that order and
// put right here.

#include "device/cpu/vector.h"

namespace kvasir::KVASIR_ISA {

#if defined(__AVX512F__)

static inline Vec lanes_of(Vec a, Vec b, __m512i index) { return {_mm512_permutex2var_ps(a.v, index, b.v)}; }

// (a0 a1 ..), (b0 b1 ..) become (a0 b0 a1 b1 ..), continued in b.
static inline void interleave(Vec& a, Vec& b) {
  const Vec low = lanes_of(a, b, _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23));
  b = lanes_of(a, b, _mm512_setr_epi32(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31));
  a = low;
}
// The inverse: even elements to a, odd ones to b.
static inline void deinterleave(Vec& a, Vec& b) {
  const Vec even =
      lanes_of(a, b, _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30));
  b = lanes_of(a, b, _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31));
  a = even;
}

#elif defined(__AVX2__)

static inline void interleave(Vec& a, Vec& b) {
  const __m256 low = _mm256_unpacklo_ps(a.v, b.v), high = _mm256_unpackhi_ps(a.v, b.v);
  a.v = _mm256_permute2f128_ps(low, high, 0x20);
  b.v = _mm256_permute2f128_ps(low, high, 0x31);
}
static inline void deinterleave(Vec& a, Vec& b) {
  const __m256 low = _mm256_permute2f128_ps(a.v, b.v, 0x20), high = _mm256_permute2f128_ps(a.v, b.v, 0x31);
  a.v = _mm256_shuffle_ps(low, high, 0x88);
  b.v = _mm256_shuffle_ps(low, high, 0xdd);
}

#elif defined(__SSE2__)

static inline void interleave(Vec& a, Vec& b) {
  const __m128 low = _mm_unpacklo_ps(a.v, b.v);
  b.v = _mm_unpackhi_ps(a.v, b.v);
  a.v = low;
}
static inline void deinterleave(Vec& a, Vec& b) {
  const __m128 even = _mm_shuffle_ps(a.v, b.v, 0x88);
  b.v = _mm_shuffle_ps(a.v, b.v, 0xdd);
  a.v = even;
}

#else  // NEON

static inline void interleave(Vec& a, Vec& b) {
  const float32x4_t low = vzip1q_f32(a.v, b.v);
  b.v = vzip2q_f32(a.v, b.v);
  a.v = low;
}
static inline void deinterleave(Vec& a, Vec& b) {
  const float32x4_t even = vuzp1q_f32(a.v, b.v);
  b.v = vuzp2q_f32(a.v, b.v);
  a.v = even;
}

#endif

}  // namespace kvasir::KVASIR_ISA
