#pragma once

// 16 lanes: AVX-512 F, BW, DQ and VL. Included by vector.h only.

#pragma GCC diagnostic push
#if !defined(__clang__)
// GCC 12 warns of the undefined operands inside its own AVX-512 intrinsics (bug 105593).
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>
#pragma GCC diagnostic pop

#include <cstdint>

namespace kvasir::KVASIR_ISA {

constexpr int kWidth = 16;
struct Vec {
  __m512 v;
};
static inline __mmask16 lane_mask(int n) { return static_cast<__mmask16>((1u << n) - 1); }
static inline Vec zero() { return {_mm512_setzero_ps()}; }
static inline Vec broadcast(float x) { return {_mm512_set1_ps(x)}; }
static inline Vec load(const float* p) { return {_mm512_loadu_ps(p)}; }
static inline Vec load_partial(const float* p, int n) { return {_mm512_maskz_loadu_ps(lane_mask(n), p)}; }
static inline void store(float* p, Vec a) { _mm512_storeu_ps(p, a.v); }
static inline void store_partial(float* p, Vec a, int n) { _mm512_mask_storeu_ps(p, lane_mask(n), a.v); }
static inline Vec operator+(Vec a, Vec b) { return {_mm512_add_ps(a.v, b.v)}; }
static inline Vec operator-(Vec a, Vec b) { return {_mm512_sub_ps(a.v, b.v)}; }
static inline Vec operator*(Vec a, Vec b) { return {_mm512_mul_ps(a.v, b.v)}; }
static inline Vec operator/(Vec a, Vec b) { return {_mm512_div_ps(a.v, b.v)}; }
static inline Vec fma(Vec a, Vec b, Vec c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
// Like the instruction: the second operand where either is NaN.
static inline Vec max(Vec a, Vec b) { return {_mm512_max_ps(a.v, b.v)}; }
static inline Vec min(Vec a, Vec b) { return {_mm512_min_ps(a.v, b.v)}; }
static inline Vec sqrt(Vec a) { return {_mm512_sqrt_ps(a.v)}; }
static inline Vec round(Vec a) { return {_mm512_roundscale_ps(a.v, 0)}; }
// a < b ? x : y, by lane.
static inline Vec select_less(Vec a, Vec b, Vec x, Vec y) {
  return {_mm512_mask_blend_ps(_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ), y.v, x.v)};
}
// Bit i ? x : y, by lane.
static inline Vec select_bits(uint32_t bits, Vec x, Vec y) {
  return {_mm512_mask_blend_ps(static_cast<__mmask16>(bits), y.v, x.v)};
}
// Bit i: a[i] >= b[i].
static inline uint32_t greater_equal_bits(Vec a, Vec b) { return _mm512_cmp_ps_mask(a.v, b.v, _CMP_GE_OQ); }
static inline float reduce_add(Vec a) { return _mm512_reduce_add_ps(a.v); }
static inline float reduce_max(Vec a) { return _mm512_reduce_max_ps(a.v); }
// a * 2^n for integral n from -126 to 127. For n = 128: the same or infinity.
static inline Vec scale_by_power_of_two(Vec a, Vec n) { return {_mm512_scalef_ps(a.v, n.v)}; }
static inline Vec abs(Vec a) { return {_mm512_abs_ps(a.v)}; }

// A vector's lanes in f64.
struct Wide {
  __m512d low, high;
};
static inline Wide widen(Vec a) {
  return {_mm512_cvtps_pd(_mm512_castps512_ps256(a.v)), _mm512_cvtps_pd(_mm512_extractf32x8_ps(a.v, 1))};
}
static inline Wide operator+(Wide a, Wide b) {
  return {_mm512_add_pd(a.low, b.low), _mm512_add_pd(a.high, b.high)};
}
static inline double reduce_add(Wide a) { return _mm512_reduce_add_pd(_mm512_add_pd(a.low, a.high)); }

static inline Vec load_bf16(const uint16_t* p) {
  __m256i u = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(u), 16))};
}
static inline Vec load_f16(const uint16_t* p) {
  return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
}
// From kWidth pairs (a0 b0 a1 b1 ...): the first of each and the second of each.
static inline void load_bf16_pairs(const uint16_t* p, Vec& first, Vec& second) {
  __m512i u = _mm512_loadu_si512(p);
  first.v = _mm512_castsi512_ps(_mm512_slli_epi32(u, 16));
  second.v = _mm512_castsi512_ps(_mm512_and_si512(u, _mm512_set1_epi32(static_cast<int>(0xffff0000u))));
}

}  // namespace kvasir::KVASIR_ISA
