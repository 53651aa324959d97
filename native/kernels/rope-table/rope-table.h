#pragma once

#include <cstdint>

#include "types/dtype.h"
#include "types/execution.h"

namespace kvasir {

// Cosines and sines of rotary positions, once a step for all layers that share the frequencies.
//
//   y[n,i]       = magnitude * cos(positions[n] * frequencies[i])
//   y[n,P+i]     = magnitude * sin(positions[n] * frequencies[i])
//
// Angles are in f64: at position 100,000 an f32 angle is off by some milliradians.
struct RopeTable {
  const int32_t* positions;   // (N,)
  const double* frequencies;  // (P,) radians a position
  float* y;                   // (N,2P), contiguous
  int64_t N, P;
  double magnitude;  // 1, or YaRN's attention factor
};

using RopeTableKernel = void(const RopeTable&, Execution&);
using RopeTableCudaKernel = void(const RopeTable&, cuda::Execution&);

}  // namespace kvasir
