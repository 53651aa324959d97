#pragma once

// 4 lanes: SSE2, what every x86-64 has. Included by vector.h only.

#include <emmintrin.h>

#include <cstdint>

namespace kvasir::KVASIR_ISA {

constexpr int kWidth = 4;
struct Vec {
  __m128 v;
};
static inline Vec zero() { return {_mm_setzero_ps()}; }
static inline Vec broadcast(float x) { return {_mm_set1_ps(x)}; }
static inline Vec load(const float* p) { return {_mm_loadu_ps(p)}; }
static inline Vec load_partial(const float* p, int n) {
  alignas(16) float lanes[4] = {0, 0, 0, 0};
  for (int i = 0; i < n; i++) lanes[i] = p[i];
  return {_mm_load_ps(lanes)};
}
static inline void store(float* p, Vec a) { _mm_storeu_ps(p, a.v); }
static inline void store_partial(float* p, Vec a, int n) {
  alignas(16) float lanes[4];
  _mm_store_ps(lanes, a.v);
  for (int i = 0; i < n; i++) p[i] = lanes[i];
}
static inline Vec operator+(Vec a, Vec b) { return {_mm_add_ps(a.v, b.v)}; }
static inline Vec operator-(Vec a, Vec b) { return {_mm_sub_ps(a.v, b.v)}; }
static inline Vec operator*(Vec a, Vec b) { return {_mm_mul_ps(a.v, b.v)}; }
static inline Vec operator/(Vec a, Vec b) { return {_mm_div_ps(a.v, b.v)}; }
// Rounded twice: without FMA hardware the product is rounded before the sum, here always.
static inline Vec fma(Vec a, Vec b, Vec c) { return {_mm_add_ps(_mm_mul_ps(a.v, b.v), c.v)}; }
static inline Vec max(Vec a, Vec b) { return {_mm_max_ps(a.v, b.v)}; }
static inline Vec min(Vec a, Vec b) { return {_mm_min_ps(a.v, b.v)}; }
static inline Vec sqrt(Vec a) { return {_mm_sqrt_ps(a.v)}; }
// |a| < 2^31.
static inline Vec round(Vec a) { return {_mm_cvtepi32_ps(_mm_cvtps_epi32(a.v))}; }
static inline Vec select_less(Vec a, Vec b, Vec x, Vec y) {
  __m128 m = _mm_cmplt_ps(a.v, b.v);
  return {_mm_or_ps(_mm_and_ps(m, x.v), _mm_andnot_ps(m, y.v))};
}
static inline Vec select_bits(uint32_t bits, Vec x, Vec y) {
  const __m128i lane = _mm_setr_epi32(1, 2, 4, 8);
  const __m128i chosen = _mm_and_si128(_mm_set1_epi32(static_cast<int>(bits)), lane);
  const __m128 m = _mm_castsi128_ps(_mm_cmpeq_epi32(chosen, lane));
  return {_mm_or_ps(_mm_and_ps(m, x.v), _mm_andnot_ps(m, y.v))};
}
static inline uint32_t greater_equal_bits(Vec a, Vec b) {
  return static_cast<uint32_t>(_mm_movemask_ps(_mm_cmpge_ps(a.v, b.v)));
}
static inline float reduce_add(Vec a) {
  __m128 s = _mm_add_ps(a.v, _mm_movehl_ps(a.v, a.v));
  return _mm_cvtss_f32(_mm_add_ss(s, _mm_shuffle_ps(s, s, 1)));
}
static inline float reduce_max(Vec a) {
  __m128 s = _mm_max_ps(a.v, _mm_movehl_ps(a.v, a.v));
  return _mm_cvtss_f32(_mm_max_ss(s, _mm_shuffle_ps(s, s, 1)));
}
static inline Vec scale_by_power_of_two(Vec a, Vec n) {
  __m128i scale = _mm_slli_epi32(_mm_add_epi32(_mm_cvtps_epi32(n.v), _mm_set1_epi32(127)), 23);
  return a * Vec{_mm_castsi128_ps(scale)};
}
static inline Vec abs(Vec a) { return {_mm_andnot_ps(_mm_set1_ps(-0.0f), a.v)}; }

struct Wide {
  __m128d low, high;
};
static inline Wide widen(Vec a) { return {_mm_cvtps_pd(a.v), _mm_cvtps_pd(_mm_movehl_ps(a.v, a.v))}; }
static inline Wide operator+(Wide a, Wide b) {
  return {_mm_add_pd(a.low, b.low), _mm_add_pd(a.high, b.high)};
}
static inline double reduce_add(Wide a) {
  __m128d sum = _mm_add_pd(a.low, a.high);
  return _mm_cvtsd_f64(_mm_add_sd(sum, _mm_unpackhi_pd(sum, sum)));
}

static inline Vec load_bf16(const uint16_t* p) {
  __m128i u = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
  return {_mm_castsi128_ps(_mm_unpacklo_epi16(_mm_setzero_si128(), u))};
}
// f16 to f32 in integer arithmetic: exponent rebiased by a multiplication, which also handles subnormals.
static inline Vec load_f16(const uint16_t* p) {
  __m128i u = _mm_unpacklo_epi16(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)), _mm_setzero_si128());
  __m128i sign = _mm_slli_epi32(_mm_and_si128(u, _mm_set1_epi32(0x8000)), 16);
  __m128i magnitude = _mm_and_si128(u, _mm_set1_epi32(0x7fff));
  __m128 value = _mm_mul_ps(_mm_castsi128_ps(_mm_slli_epi32(magnitude, 13)), _mm_set1_ps(0x1p112f));
  __m128i special = _mm_cmpgt_epi32(magnitude, _mm_set1_epi32(0x7bff));  // infinity or NaN
  __m128i bits = _mm_or_si128(_mm_castps_si128(value), _mm_and_si128(special, _mm_set1_epi32(0x7f800000)));
  return {_mm_castsi128_ps(_mm_or_si128(bits, sign))};
}
static inline void load_bf16_pairs(const uint16_t* p, Vec& first, Vec& second) {
  __m128i u = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  first.v = _mm_castsi128_ps(_mm_slli_epi32(u, 16));
  second.v = _mm_castsi128_ps(_mm_and_si128(u, _mm_set1_epi32(static_cast<int>(0xffff0000u))));
}

}  // namespace kvasir::KVASIR_ISA
