#pragma once

// A thread copies 8 elements of a row; 2 sizes of T move for every element.

#include "device/cuda/vector.cuh"
#include "kernels/gather-rows/gather-rows.h"

namespace kvasir::cuda {

template <class T>
__global__ void __launch_bounds__(kPieceThreads) gather_rows_kernel(GatherRows p) {
  ptx::let_successor_start();
  ptx::wait_for_predecessor();
  for_each_group(p.R, p.C, [&](int64_t r, int64_t c, int64_t count) {
    const T* x = static_cast<const T*>(p.x) + p.rows[r] * p.x_stride;
    copy_group(x + c, static_cast<T*>(p.y) + r * p.y_stride + c, count);
  });
}

}  // namespace kvasir::cuda
