#pragma once

#include <cstdint>

#include "types/dtype.h"
#include "types/execution.h"

namespace kvasir {

// Rotary position embedding of the first 2P of D channels of every head; the others are copied.
//
//   a' = a cos - b sin,  b' = b cos + a sin   for the pair (a,b) of index i in [0,P):
//   half-split    channels i and i+P
//   interleaved   channels 2i and 2i+1
//
// Su et al. 2021, https://arxiv.org/abs/2104.09864
struct Rope {
  const void* x;       // (N,H,D), rows x_stride apart, heads contiguous
  const float* table;  // (N,2P): cosines, then sines (rope-table.h)
  void* y;             // (N,H,D), rows y_stride apart; may be x itself
  int64_t N, H, D, P;  // 2P <= D
  int64_t x_stride, y_stride;
  bool interleaved;
  DType dtype;  // of x and y
};

using RopeKernel = void(const Rope&, Execution&);
using RopeCudaKernel = void(const Rope&, cuda::Execution&);

}  // namespace kvasir
