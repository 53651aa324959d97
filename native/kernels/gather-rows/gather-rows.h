#pragma once

#include <cstdint>

#include "types/dtype.h"
#include "types/execution.h"

namespace kvasir {

//   y[r,:] = x[rows[r],:]
struct GatherRows {
  const void* x;        // (N,C), rows x_stride apart
  const int32_t* rows;  // (R,), each in [0,N)
  void* y;              // (R,C), rows y_stride apart; overlaps x nowhere
  int64_t N, R, C;
  int64_t x_stride, y_stride;
  DType dtype;  // of x and y
};

using GatherRowsKernel = void(const GatherRows&, Execution&);
using GatherRowsCudaKernel = void(const GatherRows&, cuda::Execution&);

}  // namespace kvasir
