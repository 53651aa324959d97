#pragma once

#include <cstdint>

#include "kernels/activation/activation.h"
#include "kernels/layer-norm/layer-norm.h"
#include "kernels/rms-norm/rms-norm.h"
#include "types/blocks.h"
#include "types/dtype.h"
#include "types/execution.h"

namespace kvasir {

// A linear layer with its epilogue.
//
//   plain:  y[m,n] = act(sum_k x[m,k] W[n,k] + bias[n]) + residual[m,n]
//   gated:  y[m,n] = act(sum_k x[m,k] G[n,k] + bias[n]) * (sum_k x[m,k] U[n,k] + bias[N+n]) + residual[m,n]
//
// Gated units: Shazeer 2020, https://arxiv.org/abs/2002.05202
//
// Where W is q8 or q4, the CPU's kernel reads x rounded to 8 bits in blocks of 32 columns: as s * rint(x / s), s being
// the block's largest magnitude / 127; a block below 2^-100 as zeros. A row of x with a number that is not finite
// gives NaN.
//
// On CUDA, x is not rounded, and the numbers of q8 and q4 are, to x's type.
//
// With rounds_x, W being bf16, the CPU's kernel reads x rounded to bf16, to nearest with ties to even, and what is below
// 2^-126 as zero, of W as well if it likes.
//
// Row m of y depends on row m of x alone, bit for bit: the same for any M, any number of threads and any
// split of a step into smaller ones. (On the CPU each output has one f32 accumulator that takes k in ascending order; on CUDA one for each run
// of columns, see linear_runs.)
struct Linear {
  const void* x;  // (M,K), rows x_stride elements apart
  const void*
      weight;  // W in panels (types/panels.h), on CUDA in tiles (types/tiles.h); gated: G and U in turn
  const float* bias;     // (N,), gated (2N,): G's then U's; null for none
  const void* residual;  // (M,N), rows residual_stride apart; null for none; may be y itself
  void* y;               // (M,N), rows y_stride apart; overlaps x nowhere
  int64_t M, N, K;
  int64_t x_stride, residual_stride, y_stride;
  DType weight_dtype;  // kF32, kF16, kBF16, kQ8 or kQ4
  DType dtype;         // of x; sums are f32
  DType y_dtype;       // of y and residual: kF32 or that of x
  Activation activation;
  bool gated;
  bool rounds_x;
  const float* up_bias = nullptr;  // on CUDA: U's bias, where it does not follow G's
};

using LinearKernel = void(const Linear&, Execution&);
using LinearCudaKernel = void(const Linear&, cuda::Execution&);

// CUDA, at most kNormLinearMaxRows rows: a norm and the layer that reads it, in one kernel. The norm's x and
// parameters are taken, its y is not written, and l.x is ignored; residual and sum must be null. The same bits
// as the two kernels one after the other.
using RmsNormLinearCudaKernel = void(const RmsNorm& norm, const Linear& l, cuda::Execution&);
using LayerNormLinearCudaKernel = void(const LayerNorm& norm, const Linear& l, cuda::Execution&);
constexpr int64_t kNormLinearMaxRows = 16;

// x packed for tiles, K padded to whole blocks.
inline int64_t linear_scratch_bytes(bool rounds, int64_t M, int64_t K) {
  return M <= 1 && !rounds ? 0 : M * block_count(K) * (kBlockColumns * 4);
}

// How CUDA kernels sum over K, whatever the number of rows: runs of this many columns (the last may be
// shorter), each with an f32 accumulator that takes blocks of 16 columns in ascending order, and then the sums
// of the runs in ascending order, beginning with the first.
constexpr int64_t kLinearMaxRuns = 8;
constexpr int64_t linear_run_columns(int64_t K) {
  return ((K + kLinearMaxRuns - 1) / kLinearMaxRuns + 63) / 64 * 64;
}
constexpr int64_t linear_runs(int64_t K) { return (K + linear_run_columns(K) - 1) / linear_run_columns(K); }

// Device scratch of the three CUDA kernels for up to M rows and a matrix of `rows` rows (N, gated 2N): sums of runs,
// where several blocks share a part of y, no more than stay in a second-level cache; and before them the rows of a norm
// of up to kNormLinearMaxRows rows, where shared memory cannot hold them.
constexpr int64_t kLinearCudaMaxSumsBytes = 16 << 20;
constexpr int64_t linear_cuda_rows_bytes(int64_t M, int64_t K) { return M * ((K + 63) / 64 * 64) * 4; }
constexpr int64_t linear_cuda_sums_bytes(int64_t M, int64_t rows, int64_t K) {
  const int64_t tokens = M <= 16 ? 16 : M <= 32 ? 32 : M <= 64 ? 64 : (M + 127) / 128 * 128;
  const int64_t bytes = linear_runs(K) * tokens * ((rows + 16 + 127) / 128 * 128) * 4;
  return bytes < kLinearCudaMaxSumsBytes ? bytes : kLinearCudaMaxSumsBytes;
}
// Of q8 and q4, rows whose tiles of x's type are made at a time, a multiple of 128.
constexpr int64_t kLinearCudaUnpackedBytes = 16 << 20;  // of 16-bit numbers
constexpr int64_t linear_cuda_unpacked_rows(int64_t K) {
  const int64_t rows = kLinearCudaUnpackedBytes / ((K + 63) / 64 * 64 * 2) / 128 * 128;
  return rows < 128 ? 128 : rows;
}
constexpr int64_t linear_cuda_unpacked_bytes(int64_t rows, int64_t K) {
  const int64_t all = (rows + 16 + 127) / 128 * 128, some = linear_cuda_unpacked_rows(K);
  return (all < some ? all : some) * ((K + 63) / 64 * 64) * 4;
}
constexpr int64_t linear_cuda_scratch_bytes(int64_t M, int64_t rows, int64_t K, DType weight_dtype) {
  return linear_cuda_rows_bytes(M < kNormLinearMaxRows ? M : kNormLinearMaxRows, K) +
         linear_cuda_sums_bytes(M, rows, K) +
         (is_blocked(weight_dtype) ? linear_cuda_unpacked_bytes(rows, K) : 0);
}

}  // namespace kvasir
