#pragma once

// A thread takes one position and frequency; 8 bytes are written for each. Bound by the f64 sine and cosine.

#include "device/cuda/vector.cuh"
#include "kernels/rope-table/rope-table.h"

namespace kvasir::cuda {

static __global__ void __launch_bounds__(kPieceThreads) rope_table_kernel(RopeTable p) {
  ptx::let_successor_start();
  ptx::wait_for_predecessor();
  for_each_piece(p.N, p.P, [&](int64_t n, int64_t i) {
    const double angle = p.positions[n] * p.frequencies[i];
    float* y = p.y + n * 2 * p.P;
    y[i] = static_cast<float>(p.magnitude * cos(angle));
    y[p.P + i] = static_cast<float>(p.magnitude * sin(angle));
  });
}

}  // namespace kvasir::cuda
