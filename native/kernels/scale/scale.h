#pragma once

#include <cstdint>

#include "types/dtype.h"
#include "types/execution.h"

namespace kvasir {

//   y[n,c] = factor * x[n,c]
struct Scale {
  const void* x;  // (N,C), rows x_stride apart
  void* y;        // (N,C), rows y_stride apart; may be x itself
  int64_t N, C;
  int64_t x_stride, y_stride;
  float factor;
  DType dtype;  // of x and y
};

using ScaleKernel = void(const Scale&, Execution&);
using ScaleCudaKernel = void(const Scale&, cuda::Execution&);

}  // namespace kvasir
