#pragma once

#include <cstdint>

#include "device/cpu/execution.h"

namespace kvasir {

//   y[n,c] = factor * x[n,c]
struct Scale {
  const float* x;  // (N,C), rows x_stride apart
  float* y;        // (N,C), rows y_stride apart; may be x itself
  int64_t N, C;
  int64_t x_stride, y_stride;
  float factor;
};

using ScaleKernel = void(const Scale&, Execution&);

}  // namespace kvasir
