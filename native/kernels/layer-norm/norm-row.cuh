#pragma once

// A row that a norm begins with, and sums over it by one warp.
//
// Lane l takes the groups l, l+32 ... of 8 neighbouring elements, whatever their alignment, and keeps 8
// partial sums, one for each place in a group. The 8 are added in halves, then the lanes by exchanges. So a
// sum's bits depend on the row alone.

#include "device/cuda/vector.cuh"
#include "kernels/layer-norm/layer-norm.h"
#include "kernels/rms-norm/rms-norm.h"

namespace kvasir::cuda {

// s[c] = x[c] + residual[c], rounded to T as if it were stored, whether it is or not.
template <class T>
struct NormRow {
  const T* x;         // (C,), any alignment
  const T* residual;  // (C,), or null for none
  int C;

  __device__ __forceinline__ bool is_aligned() const {
    return cuda::is_aligned(x) && (residual == nullptr || cuda::is_aligned(residual));
  }

  // Elements c .. c+7, of which `count` exist (a number or WholeGroup): the others are 0.
  template <class Count>
  __device__ __forceinline__ void load(int c, Count count, float (&s)[kGroup]) const {
    load_group(x + c, count, s);
    if (residual == nullptr) return;
    float r[kGroup];
    load_group(residual + c, count, r);
#pragma unroll
    for (int i = 0; i < kGroup; i++) s[i] = to_float(from_float<T>(sum(s[i], r[i])));
  }
};

// Calls body(c, count, s) for the groups thread, thread + threads ... of a row, in this order; count is
// WholeGroup only where `aligned` is true.
template <class T, class F>
__device__ __forceinline__ void for_each_row_group(const NormRow<T>& row, bool aligned, int thread,
                                                   int threads, const F& body) {
  constexpr int kAhead = 4;  // groups that are read before any of them is used, or written
  float s[kAhead][kGroup];
  int c = thread * kGroup;
  const int step = threads * kGroup;
  if (aligned) {
    for (; c + (kAhead - 1) * step + kGroup <= row.C; c += kAhead * step) {
#pragma unroll
      for (int j = 0; j < kAhead; j++) row.load(c + j * step, WholeGroup{}, s[j]);
#pragma unroll
      for (int j = 0; j < kAhead; j++) body(c + j * step, WholeGroup{}, s[j]);
    }
    for (; c + kGroup <= row.C; c += step) {
      row.load(c, WholeGroup{}, s[0]);
      body(c, WholeGroup{}, s[0]);
    }
  }
  for (; c < row.C; c += step) {
    row.load(c, row.C - c, s[0]);
    body(c, row.C - c, s[0]);
  }
}

// The same for the lanes of one warp. blockDim.x is a multiple of 32.
template <class T, class F>
__device__ __forceinline__ void for_each_lane_group(const NormRow<T>& row, const F& body) {
  for_each_row_group(row, row.is_aligned(), static_cast<int>(threadIdx.x % 32), 32, body);
}

// An aligned row of whole groups of 16-bit numbers, no more than 32 kGroups, that a warp holds in registers: it
// is read once, all groups at a time.
template <class T, int kGroups>
struct HeldRow {
  uint4 groups[kGroups];
  int C;

  __device__ __forceinline__ HeldRow(const T* x, int C, int lane) : C(C) {
#pragma unroll
    for (int i = 0; i < kGroups; i++) {
      const int c = (i * 32 + lane) * kGroup;
      groups[i] = make_uint4(0, 0, 0, 0);
      if (c < C) groups[i] = *reinterpret_cast<const uint4*>(x + c);
    }
  }
};

template <class T, int kGroups, class F>
__device__ __forceinline__ void for_each_lane_group(const HeldRow<T, kGroups>& row, const F& body) {
#pragma unroll
  for (int i = 0; i < kGroups; i++) {
    const int c = (i * 32 + static_cast<int>(threadIdx.x % 32)) * kGroup;
    if (c >= row.C) continue;
    const uint32_t pairs[4] = {row.groups[i].x, row.groups[i].y, row.groups[i].z, row.groups[i].w};
    float s[kGroup];
#pragma unroll
    for (int j = 0; j < 4; j++) {
      const float2 pair = unpack2<T>(pairs[j]);
      s[2 * j] = pair.x;
      s[2 * j + 1] = pair.y;
    }
    body(c, WholeGroup{}, s);
  }
}

// The sum of all lanes' partial sums; every lane gets it.
__device__ __forceinline__ float lane_groups_sum(float (&parts)[kGroup]) {
#pragma unroll
  for (int half = kGroup / 2; half > 0; half /= 2) {
#pragma unroll
    for (int i = 0; i < half; i++) parts[i] = sum(parts[i], parts[i + half]);
  }
  return warp_sum(parts[0]);
}

// How the kernels of norms divide their work: a block is 32 lanes x warps x rows. All warps of a row find its
// statistics, each for itself, and share the rest.
struct NormThread {
  int64_t n;
  int thread, threads;  // of those that share row n
};

__device__ __forceinline__ NormThread norm_thread() {
  return {static_cast<int64_t>(blockIdx.x) * blockDim.z + threadIdx.z,
          static_cast<int>(threadIdx.y * 32 + threadIdx.x), static_cast<int>(blockDim.y * 32)};
}

// Between what the warps of a row wrote and what they read.
__device__ __forceinline__ void wait_for_warps_of_row() {
  if (blockDim.y > 1) __syncthreads();
}

// Where row n of a norm begins, of several heads head n of all, in a matrix whose rows lie `stride` apart.
__device__ __forceinline__ int64_t row_offset(const LayerNorm&, int64_t n, int64_t stride) {
  return n * stride;
}
__device__ __forceinline__ int64_t row_offset(const RmsNorm& p, int64_t n, int64_t stride) {
  return p.H == 1 ? n * stride : n / p.H * stride + n % p.H * p.C;
}

// Row n of a norm's input; where p.sum is wanted, it is formed there and read from there, as p.sum may be x
// or residual. P is LayerNorm or RmsNorm.
template <class T, class P>
__device__ __forceinline__ NormRow<T> norm_row(const P& p, const NormThread& t) {
  const T* residual = static_cast<const T*>(p.residual);
  const NormRow<T> row{static_cast<const T*>(p.x) + row_offset(p, t.n, p.x_stride),
                       residual == nullptr ? nullptr : residual + row_offset(p, t.n, p.residual_stride),
                       static_cast<int>(p.C)};
  if (p.sum == nullptr) return row;
  T* s = static_cast<T*>(p.sum) + row_offset(p, t.n, p.sum_stride);
  for_each_row_group(row, row.is_aligned() && is_aligned(s), t.thread, t.threads,
                     [&](int c, auto count, const float(&x)[kGroup]) { store_group(s + c, count, x); });
  wait_for_warps_of_row();
  return {s, nullptr, row.C};
}

// A norm's weights or biases c .. c+7, of which `count` exist; `none` where there are none. As no kernel
// writes them, __ldg lets their reading pass the writes of y.
__device__ __forceinline__ void load_parameters(const float* p, int c, WholeGroup, float none,
                                                float (&x)[kGroup]) {
  float4 low = make_float4(none, none, none, none), high = low;
  if (p != nullptr) {
    low = __ldg(reinterpret_cast<const float4*>(p + c));
    high = __ldg(reinterpret_cast<const float4*>(p + c + 4));
  }
  x[0] = low.x, x[1] = low.y, x[2] = low.z, x[3] = low.w;
  x[4] = high.x, x[5] = high.y, x[6] = high.z, x[7] = high.w;
}

__device__ __forceinline__ void load_parameters(const float* p, int c, int count, float none,
                                                float (&x)[kGroup]) {
#pragma unroll
  for (int i = 0; i < kGroup; i++) x[i] = p == nullptr || i >= count ? none : __ldg(p + c + i);
}

// Four warps share a row where the rows alone would leave multiprocessors idle, else each has its own.
constexpr int kNormWarps = 4;

template <class P>
void launch_norm(Execution& e, void (*kernel)(P), const std::type_identity_t<P>& p, int64_t count) {
  if (count == 0) return;
  const bool few = count <= 4 * e.multiprocessors;
  const unsigned rows = few ? 1 : kNormWarps, warps = few ? kNormWarps : 1;
  launch(e, kernel, {dim3(static_cast<unsigned>((count + rows - 1) / rows)), dim3(32, warps, rows)}, p);
}

}  // namespace kvasir::cuda
