#pragma once

#include <cstdint>

#include "types/dtype.h"
#include "types/execution.h"

namespace kvasir {

// RMSNorm over the last axis, after an optional residual addition.
//
//   s[n,c] = x[n,c] + residual[n,c]
//   y[n,c] = s[n,c] / sqrt(mean(s[n,:]^2) + epsilon) * weight[c]
//
// Zhang & Sennrich 2019, https://arxiv.org/abs/1910.07467
struct RmsNorm {
  const void* x;         // (N,C), rows x_stride apart
  const void* residual;  // (N,C), rows residual_stride apart; null for none
  const float* weight;   // (C,), or null for ones
  void* sum;  // (N,C), rows sum_stride apart: s; null where not wanted; may be x or residual itself
  void* y;    // (N,C), rows y_stride apart; may be x or residual itself where sum is null
  int64_t N, C;
  int64_t x_stride, residual_stride, sum_stride, y_stride;
  float epsilon;
  DType dtype;  // of x, residual, sum and y; statistics are f32
};

using RmsNormKernel = void(const RmsNorm&, Execution&);
using RmsNormCudaKernel = void(const RmsNorm&, cuda::Execution&);

}  // namespace kvasir
