#pragma once

// A thread takes 8 elements of a row; 2 sizes of T move for every element.

#include "device/cuda/vector.cuh"
#include "kernels/softcap/softcap.h"

namespace kvasir::cuda {

template <class T>
__global__ void __launch_bounds__(kPieceThreads) softcap_kernel(Softcap p) {
  ptx::let_successor_start();
  ptx::wait_for_predecessor();
  for_each_group(p.N, p.C, [&](int64_t n, int64_t c, int64_t count) {
    float x[kGroup];
    load_group(static_cast<const T*>(p.x) + n * p.x_stride + c, count, x);
#pragma unroll
    for (int i = 0; i < kGroup; i++) x[i] = product(hyperbolic_tangent(__fdiv_rn(x[i], p.cap)), p.cap);
    store_group(static_cast<T*>(p.y) + n * p.y_stride + c, count, x);
  });
}

}  // namespace kvasir::cuda
