#pragma once

// Activation functions, for every kernel that applies one, and the kernel that applies nothing else: a thread
// takes 8 elements of a row. 2 sizes of T move for every element, 3 where gated.
//
// Correct over the whole range of f32: the infinities give the limit, a NaN gives NaN. Where a factor tends
// to zero while x tends to -infinity, x is first bounded where the product has long become zero, so that no
// infinity meets a zero. Results smaller than about 1e-36 may come out as zero. Formulas and errors are those
// of activation-vector.h. Nothing here can be merged with what a kernel does before or after, so a function
// has the same bits in all of them.

#include "device/cuda/vector.cuh"
#include "kernels/activation/activation.h"

namespace kvasir::cuda {

__device__ __forceinline__ float relu(float x) { return x < 0.0f ? 0.0f : x; }

__device__ __forceinline__ float silu(float x) {
  const float c = x < -110.0f ? -110.0f : x;
  const float e = exponential(-fabsf(c));
  return (c < 0.0f ? product(c, e) : c) / sum(1.0f, e);
}

// Phi(-t), t >= 0, is e^(-t^2/2) times a slowly varying factor, which P/Q follows with a relative error of
// 6e-9 on [0, 14.5] (a minimax fit of erfcx(t / sqrt 2) / 2, exact at 0). So small tails keep their digits.
__device__ __forceinline__ float gelu(float x) {
  const float c = x < -14.5f ? -14.5f : x;
  const float t = fminf(14.5f, fabsf(c));
  float p = 0.00408559005f;
  p = fmaf(p, t, 0.0404417529f);
  p = fmaf(p, t, 0.182689995f);
  p = fmaf(p, t, 0.437594825f);
  p = fmaf(p, t, 0.5f);
  float q = 0.010240933f;
  q = fmaf(q, t, 0.10137902f);
  q = fmaf(q, t, 0.46802457f);
  q = fmaf(q, t, 1.20029638f);
  q = fmaf(q, t, 1.6730745f);
  q = fmaf(q, t, 1.0f);
  const float tail = product(exponential(product(product(-0.5f, t), t)), p) / q;
  return product(c, c < 0.0f ? tail : difference(1.0f, tail));
}

// x/2 (1 + tanh u) = x / (1 + e^-2u): nothing cancels where tanh u is near -1.
__device__ __forceinline__ float gelu_tanh(float x) {
  const float c = x < -12.0f ? -12.0f : x;
  // 2u; 2 sqrt(2/pi) (0.044715, 1)
  const float u = product(c, fmaf(product(c, c), 0.0713548162f, 1.59576912f));
  const float e = exponential(-fabsf(u));
  return (c < 0.0f ? product(c, e) : c) / sum(1.0f, e);
}

template <Activation A>
__device__ __forceinline__ float activate(float x) {
  if constexpr (A == Activation::kRelu) return relu(x);
  if constexpr (A == Activation::kGelu) return gelu(x);
  if constexpr (A == Activation::kGeluTanh) return gelu_tanh(x);
  if constexpr (A == Activation::kSilu) return silu(x);
  return x;
}

__device__ __forceinline__ float activate(Activation kind, float x) {
  switch (kind) {
    case Activation::kNone:
      return x;
    case Activation::kRelu:
      return relu(x);
    case Activation::kGelu:
      return gelu(x);
    case Activation::kGeluTanh:
      return gelu_tanh(x);
    case Activation::kSilu:
      return silu(x);
  }
  return x;
}

template <class T, Activation A>
__global__ void __launch_bounds__(kPieceThreads) activation_kernel(Activate p) {
  ptx::let_successor_start();
  ptx::wait_for_predecessor();
  for_each_group(p.N, p.C, [&](int64_t n, int64_t c, int64_t count) {
    float x[kGroup];
    load_group(static_cast<const T*>(p.x) + n * p.x_stride + c, count, x);
#pragma unroll
    for (int i = 0; i < kGroup; i++) x[i] = activate<A>(x[i]);
    if (p.up != nullptr) {
      float up[kGroup];
      load_group(static_cast<const T*>(p.up) + n * p.up_stride + c, count, up);
#pragma unroll
      for (int i = 0; i < kGroup; i++) x[i] = product(x[i], up[i]);
    }
    store_group(static_cast<T*>(p.y) + n * p.y_stride + c, count, x);
  });
}

template <class T>
void launch_activation(const Activate& p, Execution& e) {
  const auto launch_kind = [&](void (*kernel)(Activate)) { launch_groups(e, kernel, p.N, p.C, p); };
  switch (p.kind) {
    case Activation::kNone:
      return launch_kind(activation_kernel<T, Activation::kNone>);
    case Activation::kRelu:
      return launch_kind(activation_kernel<T, Activation::kRelu>);
    case Activation::kGelu:
      return launch_kind(activation_kernel<T, Activation::kGelu>);
    case Activation::kGeluTanh:
      return launch_kind(activation_kernel<T, Activation::kGeluTanh>);
    case Activation::kSilu:
      return launch_kind(activation_kernel<T, Activation::kSilu>);
  }
}

}  // namespace kvasir::cuda
