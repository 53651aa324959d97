#pragma once

#include <cstdint>

#include "device/cpu/execution.h"
#include "kernels/activation/activation.h"
#include "types/dtype.h"

namespace kvasir {

// A linear layer with its epilogue.
//
//   plain:  y[m,n] = act(sum_k x[m,k] W[n,k] + bias[n]) + residual[m,n]
//   gated:  y[m,n] = act(sum_k x[m,k] G[n,k] + bias[n]) * (sum_k x[m,k] U[n,k] + bias[N+n]) + residual[m,n]
//
// Gated units: Shazeer 2020, https://arxiv.org/abs/2002.05202
//
// Row m of y depends on row m of x alone, bit for bit: the same for any M, any number of threads and any
// split of a step into smaller ones. (Each output has one f32 accumulator that takes k in ascending order.)
struct Linear {
  const float* x;         // (M,K), rows x_stride elements apart
  const void* weight;     // W in panels (types/panels.h); gated: panels of G and U in turn, G first
  const float* bias;      // (N,), gated (2N,): G's then U's; null for none
  const float* residual;  // (M,N), rows residual_stride apart; null for none; may be y itself
  float* y;               // (M,N), rows y_stride apart; overlaps x nowhere
  int64_t M, N, K;
  int64_t x_stride, residual_stride, y_stride;
  DType weight_dtype;  // kF32, kF16 or kBF16; x, y and sums are f32
  Activation activation;
  bool gated;
};

using LinearKernel = void(const Linear&, Execution&);

// x packed for tiles of several rows, K padded to 16 columns.
inline int64_t linear_scratch_bytes(int64_t M, int64_t K) {
  return M <= 1 ? 0 : M * ((K + 15) / 16 * 16) * 4;
}

}  // namespace kvasir
