#pragma once

#include <cstdint>

#include "device/cpu/execution.h"

namespace kvasir {

//   y[n,c] = a[n,c] + b[n,c]
struct Add {
  const float* a;  // (N,C), rows a_stride apart
  const float* b;  // (N,C), rows b_stride apart
  float* y;        // (N,C), rows y_stride apart; may be a or b itself
  int64_t N, C;
  int64_t a_stride, b_stride, y_stride;
};

using AddKernel = void(const Add&, Execution&);

}  // namespace kvasir
