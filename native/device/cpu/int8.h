#pragma once

// Products of bytes: weights, unsigned, times rounded activations, signed, four of each to a lane's sum, exactly.
//
// A lane is a row of the weights, as in vector.h. Processors without a dot product of bytes multiply 16-bit
// numbers: they widen weights when they load them, and have activations widened when they are rounded.

#include "device/cpu/vector.h"

namespace kvasir::KVASIR_ISA {

#if defined(__AVX512VNNI__)

using Rounded = int8_t;  // how activations are kept
struct Bytes {
  __m512i v;
};
struct FourRounded {
  __m512i v;
};
struct Dots {
  __m512i v;
};
static inline Dots start_dots(int32_t first) { return {_mm512_set1_epi32(first)}; }
// Four bytes of each lane.
static inline Bytes load_bytes(const uint8_t* p) { return {_mm512_loadu_si512(p)}; }
// The low and the high halves of bytes.
static inline void load_halves(const uint8_t* p, Bytes& low, Bytes& high) {
  const __m512i both = _mm512_loadu_si512(p), mask = _mm512_set1_epi8(15);
  low.v = _mm512_and_si512(both, mask);
  high.v = _mm512_and_si512(_mm512_srli_epi16(both, 4), mask);
}
// Four activations, the same for all lanes.
static inline FourRounded load_rounded(const Rounded* p) {
  int32_t four;
  std::memcpy(&four, p, 4);
  return {_mm512_set1_epi32(four)};
}
static inline Dots add_products(Dots sum, Bytes w, FourRounded x) {
  return {_mm512_dpbusd_epi32(sum.v, w.v, x.v)};
}
static inline Vec to_floats(Dots sum) { return {_mm512_cvtepi32_ps(sum.v)}; }
// kWidth numbers to the nearest integers, ties to even; returns them for sum_integers.
static inline __m512i store_rounded(Rounded* p, Vec numbers) {
  const __m512i integers = _mm512_cvtps_epi32(numbers.v);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtsepi32_epi8(integers));
  return integers;
}
static inline __m512i magnitude_bits(Vec a) {
  return _mm512_and_si512(_mm512_castps_si512(a.v), _mm512_set1_epi32(0x7fffffff));
}
static inline __m512i larger_integers(__m512i a, __m512i b) { return _mm512_max_epi32(a, b); }
static inline int32_t largest_integer(__m512i a) { return _mm512_reduce_max_epi32(a); }
static inline __m512i add_integers(__m512i a, __m512i b) { return _mm512_add_epi32(a, b); }
static inline int32_t sum_integers(__m512i a) { return _mm512_reduce_add_epi32(a); }

#elif defined(__AVXVNNI__)

using Rounded = int8_t;
struct Bytes {
  __m256i v;
};
struct FourRounded {
  __m256i v;
};
struct Dots {
  __m256i v;
};
static inline Dots start_dots(int32_t first) { return {_mm256_set1_epi32(first)}; }
static inline Bytes load_bytes(const uint8_t* p) {
  return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))};
}
static inline void load_halves(const uint8_t* p, Bytes& low, Bytes& high) {
  const __m256i both = load_bytes(p).v, mask = _mm256_set1_epi8(15);
  low.v = _mm256_and_si256(both, mask);
  high.v = _mm256_and_si256(_mm256_srli_epi16(both, 4), mask);
}
static inline FourRounded load_rounded(const Rounded* p) {
  int32_t four;
  std::memcpy(&four, p, 4);
  return {_mm256_set1_epi32(four)};
}
static inline Dots add_products(Dots sum, Bytes w, FourRounded x) {
  return {_mm256_dpbusd_avx_epi32(sum.v, w.v, x.v)};
}
static inline Vec to_floats(Dots sum) { return {_mm256_cvtepi32_ps(sum.v)}; }
static inline __m256i store_rounded(Rounded* p, Vec numbers) {
  const __m256i integers = _mm256_cvtps_epi32(numbers.v);
  const __m128i words =
      _mm_packs_epi32(_mm256_castsi256_si128(integers), _mm256_extracti128_si256(integers, 1));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packs_epi16(words, words));
  return integers;
}

#elif defined(__AVX2__)

// vpmaddubsw would do it on bytes, but it saturates: 255 * 127 * 2 is more than 16 bits hold.
using Rounded = int16_t;
struct Bytes {
  __m256i low, high;  // widened, of lanes 0 to 3 and 4 to 7
};
struct FourRounded {
  __m256i v;
};
struct Dots {
  __m256i low, high;  // two sums for each lane
};
// To one of a lane's two sums.
static inline Dots start_dots(int32_t first) {
  const __m256i sum = _mm256_set1_epi64x(static_cast<uint32_t>(first));
  return {sum, sum};
}
static inline Bytes widen_bytes(__m256i v) {
  return {_mm256_cvtepu8_epi16(_mm256_castsi256_si128(v)),
          _mm256_cvtepu8_epi16(_mm256_extracti128_si256(v, 1))};
}
static inline Bytes load_bytes(const uint8_t* p) {
  return widen_bytes(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
static inline void load_halves(const uint8_t* p, Bytes& low, Bytes& high) {
  const __m256i both = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)), mask = _mm256_set1_epi8(15);
  low = widen_bytes(_mm256_and_si256(both, mask));
  high = widen_bytes(_mm256_and_si256(_mm256_srli_epi16(both, 4), mask));
}
static inline FourRounded load_rounded(const Rounded* p) {
  long long four;
  std::memcpy(&four, p, 8);
  return {_mm256_set1_epi64x(four)};
}
static inline Dots add_products(Dots sum, Bytes w, FourRounded x) {
  return {_mm256_add_epi32(sum.low, _mm256_madd_epi16(w.low, x.v)),
          _mm256_add_epi32(sum.high, _mm256_madd_epi16(w.high, x.v))};
}
static inline Vec to_floats(Dots sum) {
  const __m256i lanes = _mm256_hadd_epi32(sum.low, sum.high);  // 0 1 4 5 2 3 6 7
  return {_mm256_cvtepi32_ps(_mm256_permute4x64_epi64(lanes, 0xd8))};
}
static inline __m256i store_rounded(Rounded* p, Vec numbers) {
  const __m256i integers = _mm256_cvtps_epi32(numbers.v);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p),
                   _mm_packs_epi32(_mm256_castsi256_si128(integers), _mm256_extracti128_si256(integers, 1)));
  return integers;
}

#elif defined(__aarch64__)

using Rounded = int8_t;
struct FourRounded {
  int8x16_t v;
};
static inline FourRounded load_rounded(const Rounded* p) {
  int32_t four;
  std::memcpy(&four, p, 4);
  return {vreinterpretq_s8_s32(vdupq_n_s32(four))};
}

#if defined(__ARM_FEATURE_MATMUL_INT8)

struct Bytes {
  uint8x16_t v;
};
struct Dots {
  int32x4_t v;
};
static inline Dots start_dots(int32_t first) { return {vdupq_n_s32(first)}; }
static inline Bytes load_bytes(const uint8_t* p) { return {vld1q_u8(p)}; }
static inline void load_halves(const uint8_t* p, Bytes& low, Bytes& high) {
  const uint8x16_t both = vld1q_u8(p);
  low.v = vandq_u8(both, vdupq_n_u8(15));
  high.v = vshrq_n_u8(both, 4);
}
static inline Dots add_products(Dots sum, Bytes w, FourRounded x) { return {vusdotq_s32(sum.v, w.v, x.v)}; }
static inline Vec to_floats(Dots sum) { return {vcvtq_f32_s32(sum.v)}; }

// Eight bytes of each of two lanes, and of two rows of activations.
struct LanePair {
  uint8x16_t v;
};
struct RowPair {
  int8x16_t v;
};
// Sums of two lanes' products, each with two rows: of the first lane, then of the second.
struct PairDots {
  int32x4_t v;
};
static inline PairDots start_pair(Dots first_row, Dots second_row) {
  return {vtrn1q_s32(first_row.v, second_row.v)};
}
// Lanes 0 and 1 of four bytes and four more, and lanes 2 and 3.
static inline void pair_lanes(Bytes first, Bytes second, LanePair (&pairs)[2]) {
  const uint32x4_t a = vreinterpretq_u32_u8(first.v), b = vreinterpretq_u32_u8(second.v);
  pairs[0].v = vreinterpretq_u8_u32(vzip1q_u32(a, b));
  pairs[1].v = vreinterpretq_u8_u32(vzip2q_u32(a, b));
}
// Of two rows that lie one after the other, or of one and a row of zeros.
static inline RowPair load_row_pair(const Rounded* p, bool both) {
  return {both ? vld1q_s8(p) : vcombine_s8(vld1_s8(p), vdup_n_s8(0))};
}
static inline PairDots add_products(PairDots sum, LanePair w, RowPair x) {
  return {vusmmlaq_s32(sum.v, w.v, x.v)};
}
static inline Dots first_row(const PairDots (&pairs)[2]) { return {vuzp1q_s32(pairs[0].v, pairs[1].v)}; }
static inline Dots second_row(const PairDots (&pairs)[2]) { return {vuzp2q_s32(pairs[0].v, pairs[1].v)}; }

#else

// Signed here, so that no offset is left to make up for: `first` of start_dots is not needed.
struct Bytes {
  int8x16_t v;
};
static inline Bytes load_bytes(const uint8_t* p) {
  return {vreinterpretq_s8_u8(veorq_u8(vld1q_u8(p), vdupq_n_u8(128)))};
}
static inline void load_halves(const uint8_t* p, Bytes& low, Bytes& high) {
  const uint8x16_t both = vld1q_u8(p);
  low.v = vreinterpretq_s8_u8(vandq_u8(both, vdupq_n_u8(15)));
  high.v = vreinterpretq_s8_u8(vshrq_n_u8(both, 4));
}

#if defined(__ARM_FEATURE_DOTPROD)

struct Dots {
  int32x4_t v;
};
static inline Dots start_dots(int32_t) { return {vdupq_n_s32(0)}; }
static inline Dots add_products(Dots sum, Bytes w, FourRounded x) { return {vdotq_s32(sum.v, w.v, x.v)}; }
static inline Vec to_floats(Dots sum) { return {vcvtq_f32_s32(sum.v)}; }

#else

struct Dots {
  int32x4_t low, high;  // two sums for each lane
};
static inline Dots start_dots(int32_t) { return {vdupq_n_s32(0), vdupq_n_s32(0)}; }
static inline Dots add_products(Dots sum, Bytes w, FourRounded x) {
  return {vpadalq_s16(sum.low, vmull_s8(vget_low_s8(w.v), vget_low_s8(x.v))),
          vpadalq_s16(sum.high, vmull_high_s8(w.v, x.v))};
}
static inline Vec to_floats(Dots sum) { return {vcvtq_f32_s32(vpaddq_s32(sum.low, sum.high))}; }

#endif
#endif

static inline int32x4_t store_rounded(Rounded* p, Vec numbers) {
  const int32x4_t integers = vcvtnq_s32_f32(numbers.v);
  const int16x4_t words = vqmovn_s32(integers);
  const int8x8_t bytes = vqmovn_s16(vcombine_s16(words, words));
  std::memcpy(p, &bytes, 4);
  return integers;
}
static inline int32x4_t magnitude_bits(Vec a) {
  return vandq_s32(vreinterpretq_s32_f32(a.v), vdupq_n_s32(0x7fffffff));
}
static inline int32x4_t larger_integers(int32x4_t a, int32x4_t b) { return vmaxq_s32(a, b); }
static inline int32_t largest_integer(int32x4_t a) { return vmaxvq_s32(a); }
static inline int32x4_t add_integers(int32x4_t a, int32x4_t b) { return vaddq_s32(a, b); }
static inline int32_t sum_integers(int32x4_t a) { return vaddvq_s32(a); }

#else  // SSE2

using Rounded = int16_t;
struct Bytes {
  __m128i low, high;  // widened, of lanes 0, 1 and 2, 3
};
struct FourRounded {
  __m128i v;
};
struct Dots {
  __m128i low, high;  // two sums for each lane
};
static inline Dots start_dots(int32_t first) {
  const __m128i sum = _mm_set1_epi64x(static_cast<uint32_t>(first));
  return {sum, sum};
}
static inline Bytes widen_bytes(__m128i v) {
  return {_mm_unpacklo_epi8(v, _mm_setzero_si128()), _mm_unpackhi_epi8(v, _mm_setzero_si128())};
}
static inline Bytes load_bytes(const uint8_t* p) {
  return widen_bytes(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
static inline void load_halves(const uint8_t* p, Bytes& low, Bytes& high) {
  const __m128i both = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)), mask = _mm_set1_epi8(15);
  low = widen_bytes(_mm_and_si128(both, mask));
  high = widen_bytes(_mm_and_si128(_mm_srli_epi16(both, 4), mask));
}
static inline FourRounded load_rounded(const Rounded* p) {
  const __m128i four = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
  return {_mm_unpacklo_epi64(four, four)};
}
static inline Dots add_products(Dots sum, Bytes w, FourRounded x) {
  return {_mm_add_epi32(sum.low, _mm_madd_epi16(w.low, x.v)),
          _mm_add_epi32(sum.high, _mm_madd_epi16(w.high, x.v))};
}
static inline Vec to_floats(Dots sum) {
  const __m128 low = _mm_castsi128_ps(sum.low), high = _mm_castsi128_ps(sum.high);
  const __m128i even = _mm_castps_si128(_mm_shuffle_ps(low, high, _MM_SHUFFLE(2, 0, 2, 0)));
  const __m128i odd = _mm_castps_si128(_mm_shuffle_ps(low, high, _MM_SHUFFLE(3, 1, 3, 1)));
  return {_mm_cvtepi32_ps(_mm_add_epi32(even, odd))};
}
static inline __m128i store_rounded(Rounded* p, Vec numbers) {
  const __m128i integers = _mm_cvtps_epi32(numbers.v);
  _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packs_epi32(integers, integers));
  return integers;
}
static inline __m128i magnitude_bits(Vec a) {
  return _mm_and_si128(_mm_castps_si128(a.v), _mm_set1_epi32(0x7fffffff));
}
static inline __m128i larger_integers(__m128i a, __m128i b) {
  const __m128i first = _mm_cmpgt_epi32(a, b);
  return _mm_or_si128(_mm_and_si128(first, a), _mm_andnot_si128(first, b));
}
static inline int32_t largest_integer(__m128i a) {
  a = larger_integers(a, _mm_shuffle_epi32(a, _MM_SHUFFLE(1, 0, 3, 2)));
  return _mm_cvtsi128_si32(larger_integers(a, _mm_shuffle_epi32(a, _MM_SHUFFLE(2, 3, 0, 1))));
}
static inline __m128i add_integers(__m128i a, __m128i b) { return _mm_add_epi32(a, b); }
static inline int32_t sum_integers(__m128i a) {
  a = _mm_add_epi32(a, _mm_shuffle_epi32(a, _MM_SHUFFLE(1, 0, 3, 2)));
  return _mm_cvtsi128_si32(_mm_add_epi32(a, _mm_shuffle_epi32(a, _MM_SHUFFLE(2, 3, 0, 1))));
}

#endif

#if defined(__AVX2__) && !defined(__AVX512VNNI__)
static inline __m256i magnitude_bits(Vec a) {
  return _mm256_and_si256(_mm256_castps_si256(a.v), _mm256_set1_epi32(0x7fffffff));
}
static inline __m256i larger_integers(__m256i a, __m256i b) { return _mm256_max_epi32(a, b); }
static inline int32_t largest_integer(__m256i v) {
  __m128i a = _mm_max_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
  a = _mm_max_epi32(a, _mm_shuffle_epi32(a, _MM_SHUFFLE(1, 0, 3, 2)));
  return _mm_cvtsi128_si32(_mm_max_epi32(a, _mm_shuffle_epi32(a, _MM_SHUFFLE(2, 3, 0, 1))));
}
static inline __m256i add_integers(__m256i a, __m256i b) { return _mm256_add_epi32(a, b); }
static inline int32_t sum_integers(__m256i v) {
  __m128i a = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
  a = _mm_add_epi32(a, _mm_shuffle_epi32(a, _MM_SHUFFLE(1, 0, 3, 2)));
  return _mm_cvtsi128_si32(_mm_add_epi32(a, _mm_shuffle_epi32(a, _MM_SHUFFLE(2, 3, 0, 1))));
}
#endif

}  // namespace kvasir::KVASIR_ISA
