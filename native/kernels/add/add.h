#pragma once

#include <cstdint>

#include "types/dtype.h"
#include "types/execution.h"

namespace kvasir {

//   y[n,c] = a[n,c] + b[n,c]
struct Add {
  const void* a;  // (N,C), rows a_stride apart
  const void* b;  // (N,C), rows b_stride apart
  void* y;        // (N,C), rows y_stride apart; may be a or b itself
  int64_t N, C;
  int64_t a_stride, b_stride, y_stride;
  DType dtype;  // of a, b and y
};

using AddKernel = void(const Add&, Execution&);
using AddCudaKernel = void(const Add&, cuda::Execution&);

}  // namespace kvasir
