#pragma once

#include <cstdint>

#include "types/dtype.h"
#include "types/execution.h"

namespace kvasir {

// RMSNorm over the last axis, after an optional residual addition. A row may be several heads, each with a norm of
// its own and all with one weight.
//
//   s[n,h,c] = x[n,h,c] + residual[n,h,c]
//   y[n,h,c] = s[n,h,c] / sqrt(mean(s[n,h,:]^2) + epsilon) * weight[c]
//
// Zhang & Sennrich 2019, https://arxiv.org/abs/1910.07467; of queries and keys: Henry et al. 2020,
// https://arxiv.org/abs/2010.04245
struct RmsNorm {
  const void* x;         // (N,H*C), rows x_stride apart
  const void* residual;  // (N,H*C), rows residual_stride apart; null for none
  const float* weight;   // (C,), or null for ones
  void* sum;        // (N,H*C), rows sum_stride apart: s; null where not wanted; may be x or residual itself
  void* y;          // (N,H*C), rows y_stride apart; may be x or residual itself where sum is null
  int64_t N, H, C;  // H is 1 where a row is one head
  int64_t x_stride, residual_stride, sum_stride, y_stride;
  float epsilon;
  DType dtype;  // of x, residual, sum and y; statistics are f32
};

using RmsNormKernel = void(const RmsNorm&, Execution&);
using RmsNormCudaKernel = void(const RmsNorm&, cuda::Execution&);

}  // namespace kvasir
