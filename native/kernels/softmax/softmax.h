#pragma once

#include <cstdint>

#include "types/dtype.h"
#include "types/execution.h"

namespace kvasir {

//   y[n,c] = e^(x[n,c] - max x[n,:]) / sum_j e^(x[n,j] - max x[n,:])
struct Softmax {
  const void* x;  // (N,C), rows x_stride apart
  void* y;        // (N,C), rows y_stride apart; may be x itself
  int64_t N, C;
  int64_t x_stride, y_stride;
  DType dtype;  // of x and y
};

using SoftmaxKernel = void(const Softmax&, Execution&);
using SoftmaxCudaKernel = void(const Softmax&, cuda::Execution&);

}  // namespace kvasir
