#pragma once

#include <cstdint>

#include "types/dtype.h"
#include "types/execution.h"

namespace kvasir {

// Bounds numbers smoothly.
//
//   y[n,c] = cap * tanh(x[n,c] / cap)
//
// Infinities give the bounds, a NaN gives NaN. Relative error up to 6e-7.
//
// Bello et al. 2016, https://arxiv.org/abs/1611.09940; of logits: Gemma Team 2024, https://arxiv.org/abs/2408.00118
struct Softcap {
  const void* x;  // (N,C), rows x_stride apart
  void* y;        // (N,C), rows y_stride apart; may be x itself
  int64_t N, C;
  int64_t x_stride, y_stride;
  float cap;    // above 0
  DType dtype;  // of x and y
};

using SoftcapKernel = void(const Softcap&, Execution&);
using SoftcapCudaKernel = void(const Softcap&, cuda::Execution&);

}  // namespace kvasir
