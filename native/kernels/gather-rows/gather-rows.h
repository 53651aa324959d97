#pragma once

#include <cstdint>

#include "device/cpu/execution.h"

namespace kvasir {

//   y[r,:] = x[rows[r],:]
struct GatherRows {
  const float* x;       // (N,C), rows x_stride apart
  const int32_t* rows;  // (R,), each in [0,N)
  float* y;             // (R,C), rows y_stride apart; overlaps x nowhere
  int64_t N, R, C;
  int64_t x_stride, y_stride;
};

using GatherRowsKernel = void(const GatherRows&, Execution&);

}  // namespace kvasir
