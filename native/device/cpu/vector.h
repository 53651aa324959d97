#pragma once

// A vector of f32 lanes as wide as the instruction set this file is compiled for, and its operations.
//
// Kernel sources are compiled once per instruction set, each time with KVASIR_ISA naming a namespace
// (baseline, and on x86 avx2 and avx512) and the matching compiler flags. Everything here, and everything in a kernel's
// .cpu.cpp, lives in that namespace: an inline function of the same name in two of these objects would
// otherwise be merged by the linker, and a processor without AVX-512 would run the AVX-512 one.
//
// Tails use load_partial and store_partial, so an element's value never depends on where a row ends.

#include <cstdint>
#include <cstring>

#ifndef KVASIR_ISA
#error "KVASIR_ISA must name the instruction set's namespace"
#endif

#if defined(__AVX512F__)
#include "device/cpu/vector-avx512.h"
#elif defined(__AVX2__)
#include "device/cpu/vector-avx2.h"
#elif defined(__SSE2__)
#include "device/cpu/vector-sse2.h"
#elif defined(__aarch64__)
#include "device/cpu/vector-neon.h"
#else
#error "no vector implementation for this processor"
#endif

namespace kvasir::KVASIR_ISA {

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
