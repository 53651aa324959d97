#pragma once

// A thread takes 8 elements of a row; 3 sizes of T move for every element.

#include "device/cuda/vector.cuh"
#include "kernels/add/add.h"

namespace kvasir::cuda {

template <class T>
__global__ void __launch_bounds__(kPieceThreads) add_kernel(Add p) {
  ptx::let_successor_start();
  ptx::wait_for_predecessor();
  for_each_group(p.N, p.C, [&](int64_t n, int64_t c, int64_t count) {
    float a[kGroup], b[kGroup];
    load_group(static_cast<const T*>(p.a) + n * p.a_stride + c, count, a);
    load_group(static_cast<const T*>(p.b) + n * p.b_stride + c, count, b);
#pragma unroll
    for (int i = 0; i < kGroup; i++) a[i] += b[i];
    store_group(static_cast<T*>(p.y) + n * p.y_stride + c, count, a);
  });
}

}  // namespace kvasir::cuda
