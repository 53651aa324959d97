#pragma once

// 4 lanes: NEON, what every 64-bit ARM has. Included by vector.h only.

#include <arm_neon.h>

#include <cstdint>

namespace kvasir::KVASIR_ISA {

constexpr int kWidth = 4;
struct Vec {
  float32x4_t v;
};
static inline Vec zero() { return {vdupq_n_f32(0)}; }
static inline Vec broadcast(float x) { return {vdupq_n_f32(x)}; }
static inline Vec load(const float* p) { return {vld1q_f32(p)}; }
static inline Vec load_partial(const float* p, int n) {
  alignas(16) float lanes[4] = {0, 0, 0, 0};
  for (int i = 0; i < n; i++) lanes[i] = p[i];
  return {vld1q_f32(lanes)};
}
static inline void store(float* p, Vec a) { vst1q_f32(p, a.v); }
static inline void store_partial(float* p, Vec a, int n) {
  alignas(16) float lanes[4];
  vst1q_f32(lanes, a.v);
  for (int i = 0; i < n; i++) p[i] = lanes[i];
}
static inline Vec operator+(Vec a, Vec b) { return {vaddq_f32(a.v, b.v)}; }
static inline Vec operator-(Vec a, Vec b) { return {vsubq_f32(a.v, b.v)}; }
static inline Vec operator*(Vec a, Vec b) { return {vmulq_f32(a.v, b.v)}; }
static inline Vec operator/(Vec a, Vec b) { return {vdivq_f32(a.v, b.v)}; }
static inline Vec fma(Vec a, Vec b, Vec c) { return {vfmaq_f32(c.v, a.v, b.v)}; }
// FMAX would give NaN where either operand is; these give the second, as x86 does.
static inline Vec max(Vec a, Vec b) { return {vbslq_f32(vcgtq_f32(a.v, b.v), a.v, b.v)}; }
static inline Vec min(Vec a, Vec b) { return {vbslq_f32(vcltq_f32(a.v, b.v), a.v, b.v)}; }
static inline Vec sqrt(Vec a) { return {vsqrtq_f32(a.v)}; }
static inline Vec round(Vec a) { return {vrndnq_f32(a.v)}; }
static inline Vec select_less(Vec a, Vec b, Vec x, Vec y) {
  return {vbslq_f32(vcltq_f32(a.v, b.v), x.v, y.v)};
}
static inline Vec select_bits(uint32_t bits, Vec x, Vec y) {
  alignas(16) static const uint32_t kBits[4] = {1, 2, 4, 8};
  return {vbslq_f32(vtstq_u32(vdupq_n_u32(bits), vld1q_u32(kBits)), x.v, y.v)};
}
static inline uint32_t greater_equal_bits(Vec a, Vec b) {
  alignas(16) static const uint32_t kBits[4] = {1, 2, 4, 8};
  return vaddvq_u32(vandq_u32(vcgeq_f32(a.v, b.v), vld1q_u32(kBits)));
}
// Lanes 2 and 3 come to 0 and 1.
static inline Vec upper_half(Vec a) { return {vextq_f32(a.v, a.v, 2)}; }
static inline float reduce_add(Vec a) {
  Vec s = a + upper_half(a);
  return vgetq_lane_f32(s.v, 0) + vgetq_lane_f32(s.v, 1);
}
static inline float reduce_max(Vec a) {
  Vec s = max(a, upper_half(a));
  return vgetq_lane_f32(max(s, {vdupq_laneq_f32(s.v, 1)}).v, 0);
}
static inline Vec scale_by_power_of_two(Vec a, Vec n) {
  int32x4_t scale = vshlq_n_s32(vaddq_s32(vcvtnq_s32_f32(n.v), vdupq_n_s32(127)), 23);
  return a * Vec{vreinterpretq_f32_s32(scale)};
}
static inline Vec abs(Vec a) { return {vabsq_f32(a.v)}; }

struct Wide {
  float64x2_t low, high;
};
static inline Wide widen(Vec a) { return {vcvt_f64_f32(vget_low_f32(a.v)), vcvt_high_f64_f32(a.v)}; }
static inline Wide operator+(Wide a, Wide b) { return {vaddq_f64(a.low, b.low), vaddq_f64(a.high, b.high)}; }
static inline double reduce_add(Wide a) { return vaddvq_f64(vaddq_f64(a.low, a.high)); }

static inline Vec load_bf16(const uint16_t* p) {
  return {vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p), 16))};
}
static inline Vec load_f16(const uint16_t* p) { return {vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p)))}; }
static inline void load_bf16_pairs(const uint16_t* p, Vec& first, Vec& second) {
  uint32x4_t u = vreinterpretq_u32_u16(vld1q_u16(p));
  first.v = vreinterpretq_f32_u32(vshlq_n_u32(u, 16));
  second.v = vreinterpretq_f32_u32(vandq_u32(u, vdupq_n_u32(0xffff0000u)));
}

}  // namespace kvasir::KVASIR_ISA
