#pragma once

// What the cache's elements are on the CPU, to and from f32. 16-bit ones are structs, so that each is a type of its own.

#include "device/cpu/vector.h"

namespace kvasir::KVASIR_ISA {

struct BF16Element {
  uint16_t bits;
};
// Numbers beyond its range are stored as its largest.
struct F16Element {
  uint16_t bits;
};
// A number is q times the scale of its key or value.
using Int8Element = int8_t;

#if defined(__AVX512F__)

static inline Vec load_elements(const Int8Element* p) {
  return {_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))))};
}

#elif defined(__AVX2__)

static inline Vec load_elements(const Int8Element* p) {
  return {_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))))};
}

#elif defined(__aarch64__)

static inline Vec load_elements(const Int8Element* p) {
  int32_t four;
  std::memcpy(&four, p, 4);
  return {vcvtq_f32_s32(vmovl_s16(vget_low_s16(vmovl_s8(vcreate_s8(static_cast<uint32_t>(four))))))};
}

#else  // SSE2

static inline Vec load_elements(const Int8Element* p) {
  int32_t four;
  std::memcpy(&four, p, 4);
  const __m128i bytes = _mm_cvtsi32_si128(four), twice = _mm_unpacklo_epi8(bytes, bytes);
  return {_mm_cvtepi32_ps(_mm_srai_epi32(_mm_unpacklo_epi16(twice, twice), 24))};
}

#endif

static inline Vec load_elements(const float* p) { return load(p); }
static inline Vec load_elements(const BF16Element* p) {
  return load_bf16(reinterpret_cast<const uint16_t*>(p));
}
static inline Vec load_elements(const F16Element* p) {
  return load_f16(reinterpret_cast<const uint16_t*>(p));
}

static inline float to_f16_range(float x) {
  const float magnitude = x < 0 ? -x : x;
  if (!(magnitude > 65504.0f) || magnitude > 3.4028235e38f) return x;
  return x < 0 ? -65504.0f : 65504.0f;
}

// One number.
static inline void store_element(float* p, float x) { *p = x; }
static inline void store_element(BF16Element* p, float x) { p->bits = to_bf16(x); }
static inline void store_element(F16Element* p, float x) {
  x = to_f16_range(x);
#if defined(__F16C__)
  p->bits = static_cast<uint16_t>(_cvtss_sh(x, _MM_FROUND_TO_NEAREST_INT));
#else
  uint32_t bits;
  std::memcpy(&bits, &x, 4);
  const uint32_t magnitude = bits & 0x7fffffffu;
  const auto sign = static_cast<uint16_t>(bits >> 16 & 0x8000);
  if (magnitude >= 0x7f800000u) {  // infinity and NaN
    p->bits = static_cast<uint16_t>(sign | 0x7c00 | (magnitude > 0x7f800000u ? 0x200 : 0));
  } else if (magnitude >= 0x38800000u) {
    p->bits = static_cast<uint16_t>(sign | (magnitude - 0x38000000u + 0xfff + (magnitude >> 13 & 1)) >> 13);
  } else {  // a multiple of 2^-24, the last place of 0.5
    float place;
    std::memcpy(&place, &magnitude, 4);
    place += 0.5f;
    std::memcpy(&bits, &place, 4);
    p->bits = static_cast<uint16_t>(sign | (bits - 0x3f000000u));
  }
#endif
}
// kWidth numbers.
static inline void store_elements(float* p, Vec x) { store(p, x); }
template <typename T>
static inline void store_elements(T* p, Vec x) {
  float numbers[kWidth];
  store(numbers, x);
  for (int i = 0; i < kWidth; i++) store_element(p + i, numbers[i]);
}
#if defined(__F16C__)
static inline void store_elements(F16Element* p, Vec x) {
  const Vec most = broadcast(65504.0f), clamped = max(broadcast(-65504.0f), min(most, x));
  x = select_less(abs(x), broadcast(__builtin_inff()), clamped, x);  // infinity and NaN stay
#if defined(__AVX512F__)
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtps_ph(x.v, _MM_FROUND_TO_NEAREST_INT));
#else
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvtps_ph(x.v, _MM_FROUND_TO_NEAREST_INT));
#endif
}
#endif

// The largest magnitude / 127 of some numbers; NaN where one is not finite.
static inline float int8_scale(const float* x, int64_t count) {
  float largest = 0, poison = 0;
  for (int64_t i = 0; i < count; i++) {
    const float magnitude = x[i] < 0 ? -x[i] : x[i];
    largest = magnitude > largest ? magnitude : largest;
    poison += x[i] * 0.0f;
  }
  return largest / 127 + poison;
}
static inline void store_rounded(Int8Element* p, float x, float inverse) {
  const float place = x * inverse + 12582912.0f;  // 1.5 * 2^23: one unit in the last place is 1
  int32_t bits;
  std::memcpy(&bits, &place, 4);
  *p = static_cast<Int8Element>(bits);
}

}  // namespace kvasir::KVASIR_ISA
