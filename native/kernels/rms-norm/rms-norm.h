#pragma once

#include <cstdint>

#include "device/cpu/execution.h"

namespace kvasir {

// RMSNorm over the last axis, after an optional residual addition.
//
//   s[n,c] = x[n,c] + residual[n,c]
//   y[n,c] = s[n,c] / sqrt(mean(s[n,:]^2) + epsilon) * weight[c]
//
// Zhang & Sennrich 2019, https://arxiv.org/abs/1910.07467
struct RmsNorm {
  const float* x;         // (N,C), rows x_stride apart
  const float* residual;  // (N,C), rows residual_stride apart; null for none
  const float* weight;    // (C,), or null for ones
  float* sum;  // (N,C), rows sum_stride apart: s; null where not wanted; may be x or residual itself
  float* y;    // (N,C), rows y_stride apart; may be x or residual itself where sum is null
  int64_t N, C;
  int64_t x_stride, residual_stride, sum_stride, y_stride;
  float epsilon;
};

using RmsNormKernel = void(const RmsNorm&, Execution&);

}  // namespace kvasir
