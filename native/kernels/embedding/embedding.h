#pragma once

#include <cstdint>

#include "types/dtype.h"
#include "types/execution.h"
#include "types/panels.h"

namespace kvasir {

//   y[n,:] = weight[ids[n],:]
struct Embedding {
  const int32_t* ids;  // (N,), each in [0,V)
  const void* weight;  // (V,C): row-major, or in panels where the LM head shares it
  void* y;             // (N,C), rows y_stride apart
  int64_t N, V, C;
  int64_t y_stride;
  DType weight_dtype;
  Layout weight_layout;
  DType dtype;  // of y
};

using EmbeddingKernel = void(const Embedding&, Execution&);
using EmbeddingCudaKernel = void(const Embedding&, cuda::Execution&);

}  // namespace kvasir
