#pragma once

#include "device/cuda/cuda.h"

// Arithmetic whose bits do not depend on what stands around it. nvcc may merge a product and a sum into one
// rounding, in one kernel and not in another; these it leaves alone. Where one rounding is meant: fmaf.
namespace kvasir::cuda {

__device__ __forceinline__ float product(float a, float b) { return __fmul_rn(a, b); }
__device__ __forceinline__ float sum(float a, float b) { return __fadd_rn(a, b); }
__device__ __forceinline__ float difference(float a, float b) { return __fsub_rn(a, b); }

// e^x for x <= 0 with a relative error up to 8.2e-8; 0 below -87.33, where subnormals begin; NaN for NaN.
//
// x = n ln 2 + r by Cody & Waite's two constants; e^r = 1 + r + r^2 q(r) with q a minimax polynomial of error
// 3e-9. Unlike expf it has the same bits everywhere.
__device__ __forceinline__ float exponential(float x) {
  constexpr float kToInteger = 12582912.0f;  // 1.5 * 2^23: beside it, f32 are the integers
  const float shifted = fmaf(x, 1.44269504f, kToInteger);
  const float n = difference(shifted, kToInteger);
  float r = fmaf(n, -0.693359375f, x);
  r = fmaf(n, 2.12194440e-4f, r);
  float q = 0.001381454f;
  q = fmaf(q, r, 0.00836874511f);
  q = fmaf(q, r, 0.0416683908f);
  q = fmaf(q, r, 0.166665204f);
  q = fmaf(q, r, 0.499999934f);
  const float p = fmaf(product(r, r), q, r);
  // The low bits of `shifted` are those of n.
  const float power = __uint_as_float((__float_as_uint(shifted) + 127u) << 23);
  return x < -87.33654f ? 0.0f : product(sum(1.0f, p), power);
}

// tanh(x) = m / (m + 2) with m = e^2x - 1, which keeps its digits near 0; relative error up to 4e-7. Without
// branches: a tile has 32 of them in every thread.
//
// 2x = n ln 2 + r by Cody & Waite's two constants; e^r - 1 = r + r^2 q(r), q as in exponential().
__device__ __forceinline__ float hyperbolic_tangent(float x) {
  constexpr float kToInteger = 12582912.0f;         // 1.5 * 2^23: beside it, f32 are the integers
  const float c = x > 10 ? 10 : x < -10 ? -10 : x;  // a NaN stays
  const float shifted = fmaf(c, 2 * 1.44269504f, kToInteger);
  const float n = difference(shifted, kToInteger);
  const float r = fmaf(n, 2.12194440e-4f, fmaf(n, -0.693359375f, product(c, 2.0f)));
  float q = 0.001381454f;
  q = fmaf(q, r, 0.00836874511f);
  q = fmaf(q, r, 0.0416683908f);
  q = fmaf(q, r, 0.166665204f);
  q = fmaf(q, r, 0.499999934f);
  const float power =
      __uint_as_float((__float_as_uint(shifted) + 127u) << 23);  // 2^n: the low bits are those of n
  const float m = fmaf(power, fmaf(product(r, r), q, r), difference(power, 1.0f));
  return __fdividef(m, sum(m, 2.0f));
}

}  // namespace kvasir::cuda
