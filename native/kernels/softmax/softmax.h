#pragma once

#include <cstdint>

#include "device/cpu/execution.h"

namespace kvasir {

//   y[n,c] = e^(x[n,c] - max x[n,:]) / sum_j e^(x[n,j] - max x[n,:])
struct Softmax {
  const float* x;  // (N,C), rows x_stride apart
  float* y;        // (N,C), rows y_stride apart; may be x itself
  int64_t N, C;
  int64_t x_stride, y_stride;
};

using SoftmaxKernel = void(const Softmax&, Execution&);

}  // namespace kvasir
