#pragma once

#include <cstdint>

#include "device/cpu/execution.h"

namespace kvasir {

// LayerNorm over the last axis, after an optional residual addition.
//
//   s[n,c] = x[n,c] + residual[n,c]
//   y[n,c] = (s[n,c] - mean(s[n,:])) / sqrt(var(s[n,:]) + epsilon) * weight[c] + bias[c]
//
// The variance is taken of the differences from the mean (two passes). Ba, Kiros & Hinton 2016,
// https://arxiv.org/abs/1607.06450
struct LayerNorm {
  const float* x;         // (N,C), rows x_stride apart
  const float* residual;  // (N,C), rows residual_stride apart; null for none
  const float* weight;    // (C,), or null for ones
  const float* bias;      // (C,), or null for zeros
  float* sum;  // (N,C), rows sum_stride apart: s; null where not wanted; may be x or residual itself
  float* y;    // (N,C), rows y_stride apart; may be x or residual itself where sum is null
  int64_t N, C;
  int64_t x_stride, residual_stride, sum_stride, y_stride;
  float epsilon;
};

using LayerNormKernel = void(const LayerNorm&, Execution&);

}  // namespace kvasir
