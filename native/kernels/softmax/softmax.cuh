#pragma once

// One block takes a row, a thread every so many groups of 8 elements: a pass for the maximum, one for the sum
// of e^(x - max), one that forms y. 2 sizes of T move for every element; the second and third pass find the
// row in a cache. The block's size, and so the order of a row's sum, depends on C alone.
//
// A row with a NaN, with +infinity, or of -infinity alone comes out as NaN, through the subtraction.

#include "device/cuda/vector.cuh"
#include "kernels/softmax/softmax.h"

namespace kvasir::cuda {

constexpr int kSoftmaxThreads = 1024;

// Calls body(c, count, x) for the calling thread's groups of a row.
template <class T, class F>
__device__ __forceinline__ void for_each_thread_group(const T* row, int64_t C, const F& body) {
  const int64_t step = static_cast<int64_t>(blockDim.x) * kGroup;
#pragma unroll 2
  for (int64_t c = static_cast<int64_t>(threadIdx.x) * kGroup; c < C; c += step) {
    float x[kGroup];
    load_group(row + c, C - c, x);
    body(c, C - c, x);
  }
}

// NaN is passed over.
template <class T>
__device__ __forceinline__ float row_max(const T* x, int64_t C, float* scratch) {
  float largest = -INFINITY;
  for_each_thread_group(x, C, [&](int64_t, int64_t count, const float(&values)[kGroup]) {
#pragma unroll
    for (int i = 0; i < kGroup; i++)
      if (i < count) largest = fmaxf(largest, values[i]);
  });
  return block_max(largest, scratch);
}

template <class T>
__device__ __forceinline__ float row_exponential_sum(const T* x, int64_t C, float largest, float* scratch) {
  float sums[kGroup] = {};
  for_each_thread_group(x, C, [&](int64_t, int64_t count, const float(&values)[kGroup]) {
#pragma unroll
    for (int i = 0; i < kGroup; i++)
      if (i < count) sums[i] = sum(sums[i], exponential(difference(values[i], largest)));
  });
  float total = 0.0f;
#pragma unroll
  for (int i = 0; i < kGroup; i++) total = sum(total, sums[i]);
  return block_sum(total, scratch);
}

template <class T>
__global__ void __launch_bounds__(kSoftmaxThreads) softmax_kernel(Softmax p) {
  __shared__ float scratch[32];
  ptx::let_successor_start();
  ptx::wait_for_predecessor();
  const int64_t n = blockIdx.x;
  const T* row = static_cast<const T*>(p.x) + n * p.x_stride;
  T* y = static_cast<T*>(p.y) + n * p.y_stride;
  const float largest = row_max(row, p.C, scratch);
  const float scale = 1.0f / row_exponential_sum(row, p.C, largest, scratch);
  // y may be x: a thread writes the groups that it alone reads.
  for_each_thread_group(row, p.C, [&](int64_t c, int64_t count, float(&x)[kGroup]) {
#pragma unroll
    for (int i = 0; i < kGroup; i++) x[i] = product(exponential(difference(x[i], largest)), scale);
    store_group(y + c, count, x);
  });
}

template <class T>
void launch_softmax(const Softmax& p, Execution& e) {
  if (p.N == 0) return;
  unsigned threads = 32;
  while (threads * kGroup < p.C && threads < kSoftmaxThreads) threads *= 2;
  launch(e, softmax_kernel<T>, {dim3(static_cast<unsigned>(p.N)), dim3(threads)}, p);
}

}  // namespace kvasir::cuda
