#pragma once

// From the sums of a linear layer to y, for all its kernels: bias, activation, product with the ungated half,
// residual, rounding. Four neighbouring outputs of a row at a time, so that y is written in pieces of 8 or 16
// bytes. Nothing here can be merged with what a kernel does before or after: equal sums give equal bits.

#include "device/cuda/arithmetic.cuh"
#include "device/cuda/cuda.h"
#include "kernels/activation/activation.cuh"
#include "kernels/linear/linear.h"

namespace kvasir::cuda {

// What a kernel needs of a Linear once the sums are there.
struct LinearOutput {
  const float* bias;     // (N,), or null
  const float* up_bias;  // gated: (N,), or null
  const void* residual;  // (M,N), or null
  void* y;               // (M,N)
  int M, N;
  int64_t residual_stride, y_stride;
  Activation activation;
  bool gated;
  bool f32;  // y and residual are f32, else T
};

inline LinearOutput linear_output(const Linear& p) {
  const float* behind = p.gated && p.bias != nullptr ? p.bias + p.N : nullptr;
  return {p.bias,
          p.up_bias != nullptr ? p.up_bias : behind,
          p.residual,
          p.y,
          static_cast<int>(p.M),
          static_cast<int>(p.N),
          p.residual_stride,
          p.y_stride,
          p.activation,
          p.gated,
          p.y_dtype == DType::kF32};
}

// p[0] .. p[3], of which `count` exist: the others are not read.
template <class T>
__device__ __forceinline__ float4 load4(const T* p, int count) {
  constexpr int kBytes = 4 * static_cast<int>(sizeof(T));
  if (count >= 4 && reinterpret_cast<uintptr_t>(p) % kBytes == 0) {
    if constexpr (sizeof(T) == 4) {
      return *reinterpret_cast<const float4*>(p);
    } else {
      const uint2 pairs = *reinterpret_cast<const uint2*>(p);
      const float2 low = unpack2<T>(pairs.x), high = unpack2<T>(pairs.y);
      return make_float4(low.x, low.y, high.x, high.y);
    }
  }
  float4 v = make_float4(0, 0, 0, 0);
  if (count > 0) v.x = to_float(p[0]);
  if (count > 1) v.y = to_float(p[1]);
  if (count > 2) v.z = to_float(p[2]);
  if (count > 3) v.w = to_float(p[3]);
  return v;
}

template <class T>
__device__ __forceinline__ void store4(T* p, int count, float4 v) {
  constexpr int kBytes = 4 * static_cast<int>(sizeof(T));
  if (count >= 4 && reinterpret_cast<uintptr_t>(p) % kBytes == 0) {
    if constexpr (sizeof(T) == 4) {
      *reinterpret_cast<float4*>(p) = v;
    } else {
      *reinterpret_cast<uint2*>(p) = make_uint2(pack2<T>(v.x, v.y), pack2<T>(v.z, v.w));
    }
    return;
  }
  if (count > 0) p[0] = from_float<T>(v.x);
  if (count > 1) p[1] = from_float<T>(v.y);
  if (count > 2) p[2] = from_float<T>(v.z);
  if (count > 3) p[3] = from_float<T>(v.w);
}

__device__ __forceinline__ float4 sum4(float4 a, float4 b) {
  return make_float4(sum(a.x, b.x), sum(a.y, b.y), sum(a.z, b.z), sum(a.w, b.w));
}
__device__ __forceinline__ float4 product4(float4 a, float4 b) {
  return make_float4(product(a.x, b.x), product(a.y, b.y), product(a.z, b.z), product(a.w, b.w));
}
template <Activation A>
__device__ __forceinline__ float4 activate4(float4 a) {
  return make_float4(activate<A>(a.x), activate<A>(a.y), activate<A>(a.z), activate<A>(a.w));
}
__device__ __forceinline__ float4 activate4(Activation kind, float4 a) {
  switch (kind) {
    case Activation::kNone:
      return a;
    case Activation::kRelu:
      return activate4<Activation::kRelu>(a);
    case Activation::kGelu:
      return activate4<Activation::kGelu>(a);
    case Activation::kGeluTanh:
      return activate4<Activation::kGeluTanh>(a);
    case Activation::kSilu:
      return activate4<Activation::kSilu>(a);
  }
  return a;
}

// What is added to the sums of outputs n .. n+3 of row m; may be read long before the sums are there. -0
// where there is nothing, which changes nothing.
struct Addends {
  float4 bias, up_bias, residual;
};

template <class T>
__device__ __forceinline__ Addends load_addends(const LinearOutput& out, int m, int n) {
  const float4 none = make_float4(-0.0f, -0.0f, -0.0f, -0.0f);
  Addends a{none, none, none};
  const int count = out.N - n < 4 ? out.N - n : 4;
  if (out.bias != nullptr) {
    a.bias = load4(out.bias + n, count);
    if (out.gated) a.up_bias = load4(out.up_bias + n, count);
  }
  if (out.residual != nullptr) {
    const int64_t at = static_cast<int64_t>(m) * out.residual_stride + n;
    a.residual = out.f32 ? load4(static_cast<const float*>(out.residual) + at, count)
                         : load4(static_cast<const T*>(out.residual) + at, count);
  }
  return a;
}

// Writes outputs n .. n+3 of row m, those below N. `sums` of W, gated: of G, and `up_sums` of U.
template <class T>
__device__ __forceinline__ void finish4(const LinearOutput& out, int m, int n, float4 sums, float4 up_sums,
                                        const Addends& add) {
  float4 v = activate4(out.activation, sum4(sums, add.bias));
  if (out.gated) v = product4(v, sum4(up_sums, add.up_bias));
  v = sum4(v, add.residual);
  const int count = out.N - n < 4 ? out.N - n : 4;
  const int64_t at = static_cast<int64_t>(m) * out.y_stride + n;
  if (out.f32) {
    store4(static_cast<float*>(out.y) + at, count, v);
  } else {
    store4(static_cast<T*>(out.y) + at, count, v);
  }
}

// Rows of the matrix as it is stored, without what fills its last tile.
__host__ __device__ __forceinline__ int64_t stored_rows(bool gated, int64_t N) {
  return gated ? (N + 7) / 8 * 16 : N;
}

// Outputs that a block finishes together: `count` rows of x from row m, and `rows` stored rows from `row`,
// both multiples of 8, gated: of 16.
struct OutputBlock {
  int m, count;
  int row, rows;
};

// Four neighbouring outputs of a block.
struct Quad {
  int m, row;  // of their sums, from the block's first; gated: the row of the gates, 8 before that of the ups
  int n;       // the first one; from N on: none of them exists
};

__device__ __forceinline__ Quad quad_of(const LinearOutput& out, const OutputBlock& block, int index) {
  const int quads = out.gated ? block.rows / 8 : block.rows / 4;  // in a row
  const int m = index / quads, column = index % quads * 4;
  if (m >= block.count) return {0, 0, out.N};
  if (!out.gated) return {m, column, block.row + column};
  return {m, column / 8 * 16 + column % 8, block.row / 2 + column};
}

template <class T>
__device__ __forceinline__ Addends load_addends(const LinearOutput& out, const OutputBlock& block,
                                                const Quad& quad) {
  return quad.n < out.N ? load_addends<T>(out, block.m + quad.m, quad.n) : Addends{};
}

// The sums of a block, in shared or device memory: `parts` arrays, `step` elements apart, to be added in
// order, each with its rows, one for each row of x, `pitch` apart; all multiples of 4.
struct PartialSums {
  const float* sums;
  int parts, step, pitch;
};

// kAtOnce parts are on their way together.
template <int kAtOnce>
__device__ __forceinline__ float4 add_parts(const float* p, int parts, int step) {
  float4 total = *reinterpret_cast<const float4*>(p);
  for (int first = 1; first < parts; first += kAtOnce) {
    float4 v[kAtOnce];
#pragma unroll
    for (int i = 0; i < kAtOnce; i++)
      if (first + i < parts) v[i] = *reinterpret_cast<const float4*>(p + (first + i) * step);
#pragma unroll
    for (int i = 0; i < kAtOnce; i++)
      if (first + i < parts) total = sum4(total, v[i]);
  }
  return total;
}

// By all threads of a block. `early` is what is added to the thread's first quad.
template <class T, int kAtOnce>
__device__ __forceinline__ void finish_block(const LinearOutput& out, const OutputBlock& block,
                                             const PartialSums& sums, const Addends& early) {
  Addends next = early;
  const int quads = block.count * (out.gated ? block.rows / 8 : block.rows / 4);
  const int step = static_cast<int>(blockDim.x);
#pragma unroll 1
  for (int i = static_cast<int>(threadIdx.x); i < quads; i += step) {
    const Addends add = next;
    next = load_addends<T>(out, block, quad_of(out, block, i + step));
    const Quad quad = quad_of(out, block, i);
    const float* p = sums.sums + quad.m * sums.pitch + quad.row;
    const float4 first = add_parts<kAtOnce>(p, sums.parts, sums.step);
    const float4 up = out.gated ? add_parts<kAtOnce>(p + 8, sums.parts, sums.step) : first;
    if (quad.n < out.N) finish4<T>(out, block.m + quad.m, quad.n, first, up, add);
  }
}

template <class T, int kAtOnce>
__device__ __forceinline__ void finish_block(const LinearOutput& out, const OutputBlock& block,
                                             const PartialSums& sums) {
  const Quad quad = quad_of(out, block, static_cast<int>(threadIdx.x));
  finish_block<T, kAtOnce>(out, block, sums, load_addends<T>(out, block, quad));
}

}  // namespace kvasir::cuda
