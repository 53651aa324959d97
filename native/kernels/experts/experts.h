#pragma once

#include <cstdint>

#include "kernels/activation/activation.h"
#include "types/dtype.h"
#include "types/execution.h"
#include "types/tiles.h"

namespace kvasir {

// The feed-forward part of a mixture of experts: each row goes through k of E gated feed-forwards.
//
//   p[n,:]    = softmax(logits[n,:])
//   top[n,:]  = the k experts of the largest logits, of equal ones the first
//   w[n,j]    = p[n,top[n,j]], normalised: divided by the sum of the k
//   h[n,j,:]  = act(G[e] x[n,:]) * (U[e] x[n,:])            e = top[n,j]
//   y[n,:]    = sum_j w[n,j] D[e] h[n,j,:]
//
// Shazeer et al. 2017, https://arxiv.org/abs/1701.06538; Jiang et al. 2024, https://arxiv.org/abs/2401.04088
//
// Row n of y depends on row n of x and logits alone, bit for bit. Where logits are NaN so is the row; any experts do.
// On the CPU products are those of Linear, with its rounding of x where matrices are in blocks; h is f32.
struct Experts {
  const void* x;       // (N,C), rows x_stride apart
  const void* logits;  // (N,E), rows logits_stride apart
  // Matrices one below the other, each filled up to stacked_rows; in panels, on CUDA in tiles.
  const void* gate;  // E of (F,C)
  const void* up;    // E of (F,C)
  const void* down;  // E of (C,F)
  void* y;           // (N,C), rows y_stride apart; overlaps nothing
  int64_t N, C, E, F;
  int64_t k;  // from 1 to E
  int64_t x_stride, logits_stride, y_stride;
  DType gate_dtype, up_dtype, down_dtype;
  DType dtype;  // of x, logits and y; sums are f32
  Activation activation;
  bool normalised;
};

using ExpertsKernel = void(const Experts&, Execution&);
using ExpertsCudaKernel = void(const Experts&, cuda::Execution&);

constexpr int64_t kMaxExperts = 1024;

// Bytes of one of the regions of scratch memory.
constexpr int64_t experts_region(int64_t elements) { return (elements * 4 + 255) / 256 * 256; }

// The CPU's: routes of N rows, their order by experts, and of an expert's rows x, both halves of h, and D h. Behind it
// lies what Linear wants.
constexpr int64_t experts_scratch_bytes(int64_t N, int64_t C, int64_t E, int64_t F, int64_t k) {
  return 3 * experts_region(N * k) + experts_region(E + 1) + 2 * experts_region(N * C) +
         2 * experts_region(N * F);
}

// A device's: routes of N rows, and h.
constexpr int64_t experts_cuda_scratch_bytes(int64_t N, int64_t F, int64_t k) {
  return 2 * experts_region(N * k) + experts_region(N * k * F);
}

}  // namespace kvasir
