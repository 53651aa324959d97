#pragma once

#include <cstdint>

#include "types/dtype.h"
#include "types/execution.h"

namespace kvasir {

// relu       max(x, 0)
// gelu       x Phi(x), Phi the normal distribution's CDF (Hendrycks & Gimpel 2016, https://arxiv.org/abs/1606.08415)
// gelu-tanh  x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))
// silu       x / (1 + e^-x)
enum class Activation : uint8_t { kNone, kRelu, kGelu, kGeluTanh, kSilu };

//   y[n,c] = act(x[n,c])             up null
//   y[n,c] = act(x[n,c]) * up[n,c]   gated
struct Activate {
  const void* x;   // (N,C), rows x_stride apart
  const void* up;  // (N,C), rows up_stride apart; null for none
  void* y;         // (N,C), rows y_stride apart; may be x or up itself
  int64_t N, C;
  int64_t x_stride, up_stride, y_stride;
  Activation kind;
  DType dtype;  // of x, up and y
};

using ActivateKernel = void(const Activate&, Execution&);
using ActivateCudaKernel = void(const Activate&, cuda::Execution&);

}  // namespace kvasir
