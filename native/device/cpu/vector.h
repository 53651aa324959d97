#pragma once

// A vector of f32 lanes as wide as the instruction set this file is compiled for, and its operations.
//
// Kernel sources are compiled once per instruction set, each time with KVASIR_ISA naming a namespace
// (baseline, avx2, avx512) and the matching compiler flags. Everything here, and everything in a kernel's
// .cpu.cpp, lives in that namespace: an inline function of the same name in two of these objects would
// otherwise be merged by the linker, and a processor without AVX-512 would run the AVX-512 one.
//
// Tails use load_partial and store_partial, so an element's value never depends on where a row ends.

#include <cstdint>
#include <cstring>

#if defined(__SSE2__)
#pragma GCC diagnostic push
#if !defined(__clang__)
// GCC 12 warns of the undefined operands inside its own AVX-512 intrinsics (bug 105593).
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>
#pragma GCC diagnostic pop
#else
#error "no vector implementation for this processor"
#endif

#ifndef KVASIR_ISA
#error "KVASIR_ISA must name the instruction set's namespace"
#endif

namespace kvasir::KVASIR_ISA {

#if defined(__AVX512F__)

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

#elif defined(__AVX2__)

constexpr int kWidth = 8;
struct Vec {
  __m256 v;
};
static inline __m256i lane_mask(int n) {
  alignas(32) static const int32_t kOnes[16] = {-1, -1, -1, -1, -1, -1, -1, -1};
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(kOnes + 8 - n));
}
static inline Vec zero() { return {_mm256_setzero_ps()}; }
static inline Vec broadcast(float x) { return {_mm256_set1_ps(x)}; }
static inline Vec load(const float* p) { return {_mm256_loadu_ps(p)}; }
static inline Vec load_partial(const float* p, int n) { return {_mm256_maskload_ps(p, lane_mask(n))}; }
static inline void store(float* p, Vec a) { _mm256_storeu_ps(p, a.v); }
static inline void store_partial(float* p, Vec a, int n) { _mm256_maskstore_ps(p, lane_mask(n), a.v); }
static inline Vec operator+(Vec a, Vec b) { return {_mm256_add_ps(a.v, b.v)}; }
static inline Vec operator-(Vec a, Vec b) { return {_mm256_sub_ps(a.v, b.v)}; }
static inline Vec operator*(Vec a, Vec b) { return {_mm256_mul_ps(a.v, b.v)}; }
static inline Vec operator/(Vec a, Vec b) { return {_mm256_div_ps(a.v, b.v)}; }
static inline Vec fma(Vec a, Vec b, Vec c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
static inline Vec max(Vec a, Vec b) { return {_mm256_max_ps(a.v, b.v)}; }
static inline Vec min(Vec a, Vec b) { return {_mm256_min_ps(a.v, b.v)}; }
static inline Vec sqrt(Vec a) { return {_mm256_sqrt_ps(a.v)}; }
static inline Vec round(Vec a) {
  return {_mm256_round_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
static inline Vec select_less(Vec a, Vec b, Vec x, Vec y) {
  return {_mm256_blendv_ps(y.v, x.v, _mm256_cmp_ps(a.v, b.v, _CMP_LT_OQ))};
}
static inline uint32_t greater_equal_bits(Vec a, Vec b) {
  return static_cast<uint32_t>(_mm256_movemask_ps(_mm256_cmp_ps(a.v, b.v, _CMP_GE_OQ)));
}
static inline float reduce_add(Vec a) {
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_add_ss(s, _mm_shuffle_ps(s, s, 1)));
}
static inline float reduce_max(Vec a) {
  __m128 s = _mm_max_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
  s = _mm_max_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_max_ss(s, _mm_shuffle_ps(s, s, 1)));
}
static inline Vec scale_by_power_of_two(Vec a, Vec n) {
  __m256i scale = _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n.v), _mm256_set1_epi32(127)), 23);
  return a * Vec{_mm256_castsi256_ps(scale)};
}
static inline Vec abs(Vec a) { return {_mm256_andnot_ps(_mm256_set1_ps(-0.0f), a.v)}; }

struct Wide {
  __m256d low, high;
};
static inline Wide widen(Vec a) {
  return {_mm256_cvtps_pd(_mm256_castps256_ps128(a.v)), _mm256_cvtps_pd(_mm256_extractf128_ps(a.v, 1))};
}
static inline Wide operator+(Wide a, Wide b) {
  return {_mm256_add_pd(a.low, b.low), _mm256_add_pd(a.high, b.high)};
}
static inline double reduce_add(Wide a) {
  __m256d sum = _mm256_add_pd(a.low, a.high);
  __m128d half = _mm_add_pd(_mm256_castpd256_pd128(sum), _mm256_extractf128_pd(sum, 1));
  return _mm_cvtsd_f64(_mm_add_sd(half, _mm_unpackhi_pd(half, half)));
}

static inline Vec load_bf16(const uint16_t* p) {
  __m128i u = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return {_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(u), 16))};
}
static inline Vec load_f16(const uint16_t* p) {
  return {_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))};
}
static inline void load_bf16_pairs(const uint16_t* p, Vec& first, Vec& second) {
  __m256i u = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  first.v = _mm256_castsi256_ps(_mm256_slli_epi32(u, 16));
  second.v = _mm256_castsi256_ps(_mm256_and_si256(u, _mm256_set1_epi32(static_cast<int>(0xffff0000u))));
}

#else  // SSE2, what every x86-64 has

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

#endif

static inline Vec operator-(Vec a) { return broadcast(-0.0f) - a; }

// e^r - 1 and n of e^x = 2^n e^r, |r| <= ln 2 / 2, for |x| < 90. NaN for NaN.
//
// r by Cody & Waite's two constants; e^r = 1 + r + r^2 q(r) with q a minimax polynomial (error 3e-9).
static inline Vec exp_reduced(Vec x, Vec& n) {
  n = round(x * broadcast(1.44269504f));
  Vec r = fma(n, broadcast(-0.693359375f), x);
  r = fma(n, broadcast(2.12194440e-4f), r);
  Vec q = broadcast(0.001381454f);
  q = fma(q, r, broadcast(0.00836874511f));
  q = fma(q, r, broadcast(0.0416683908f));
  q = fma(q, r, broadcast(0.166665204f));
  q = fma(q, r, broadcast(0.499999934f));
  return fma(r * r, q, r);
}

// e^x with a relative error up to 8.2e-8; 0 below -87.33 (so that no subnormal is formed, which costs some
// processors a hundred cycles), infinity above 88.72 (without AVX-512 from 88.38 on), NaN for NaN.
static inline Vec exp(Vec x) {
  const Vec lowest = broadcast(-87.33654f);  // -126 ln 2
  Vec n;
  // The operand order keeps a NaN in x: max and min return their second operand then.
  Vec p = exp_reduced(min(broadcast(89.0f), max(lowest, x)), n);
  return select_less(x, lowest, zero(), scale_by_power_of_two(broadcast(1.0f) + p, n));
}

// 1 / (1 + e^-x), relative error up to 1.8e-7; 0 below -87.33.
static inline Vec sigmoid(Vec x) {
  Vec e = exp(-abs(x));
  return select_less(x, zero(), e, broadcast(1.0f)) / (broadcast(1.0f) + e);
}

// (e^2x - 1) / (e^2x + 1), with e^2x - 1 formed without cancellation: relative error up to 1.9e-7.
static inline Vec tanh(Vec x) {
  Vec n;
  Vec p = exp_reduced(min(broadcast(20.0f), max(broadcast(-20.0f), x + x)), n);
  Vec scale = scale_by_power_of_two(broadcast(1.0f), n);
  Vec m = fma(scale, p, scale - broadcast(1.0f));
  return m / (m + broadcast(2.0f));
}

// An activation matrix as this device holds it.
static inline const float* floats(const void* activations) { return static_cast<const float*>(activations); }
static inline float* floats(void* activations) { return static_cast<float*>(activations); }

// Round to nearest, ties to even; NaN stays NaN.
static inline uint16_t to_bf16(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, 4);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>((bits >> 16) | 0x40);
  return static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1)) >> 16);
}
static inline float from_bf16(uint16_t x) {
  uint32_t bits = static_cast<uint32_t>(x) << 16;
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}

}  // namespace kvasir::KVASIR_ISA
