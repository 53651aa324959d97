#pragma once

// A block takes 2048 tokens of a row: copies them, a warp's 32 with one word of the mask, then goes through all of the
// row's edits for those that are of its tokens. A logit is read once and written once, as f32.

#include <limits>

#include "device/cuda/arithmetic.cuh"
#include "device/cuda/cuda.h"
#include "kernels/adjust-logits/adjust-logits.h"

namespace kvasir::cuda {

constexpr int kAdjustThreads = 256;
constexpr int kAdjustEach = 8;  // tokens of a thread
constexpr int kAdjustTokens = kAdjustThreads * kAdjustEach;
constexpr float kNever = -std::numeric_limits<float>::infinity();  // the logit of a token that is not chosen

__device__ __forceinline__ float edited(float x, float factor, float offset) {
  return sum(x > 0 ? __fdiv_rn(x, factor) : product(x, factor), offset);
}

// Which tokens of a row may be chosen.
struct Allowed {
  const int32_t* words;  // null for all
  __device__ bool operator()(int64_t id) const {
    return words == nullptr || (static_cast<uint32_t>(words[id / 32]) >> (id % 32) & 1) != 0;
  }
};

template <class T>
__global__ void __launch_bounds__(kAdjustThreads) adjust_logits_kernel(AdjustLogits p) {
  ptx::let_successor_start();
  ptx::wait_for_predecessor();
  const int64_t r = blockIdx.y, begin = static_cast<int64_t>(blockIdx.x) * kAdjustTokens;
  const int64_t end = begin + kAdjustTokens < p.V ? begin + kAdjustTokens : p.V;
  const T* x = static_cast<const T*>(p.logits) + r * p.logits_stride;
  float* y = p.adjusted + r * p.adjusted_stride;
  const int32_t mask_row = p.mask_rows[r];
  const Allowed allowed{mask_row < 0 ? nullptr : p.masks + mask_row * ((p.V + 31) / 32)};
#pragma unroll
  for (int j = 0; j < kAdjustEach; j++) {
    const int64_t id = begin + j * kAdjustThreads + threadIdx.x;
    if (id < end) y[id] = allowed(id) ? to_float(x[id]) : kNever;
  }
  __syncthreads();  // an edit is written over the copy of another thread
#pragma unroll 1
  for (int e = p.edit_starts[r] + static_cast<int>(threadIdx.x); e < p.edit_starts[r + 1];
       e += kAdjustThreads) {
    const int64_t id = p.edit_ids[e];
    if (id < begin || id >= end || !allowed(id)) continue;
    y[id] = edited(to_float(x[id]), p.edit_factors[e], p.edit_offsets[e]);
  }
}

template <class T>
void launch_adjust_logits(const AdjustLogits& p, Execution& e) {
  if (p.R == 0) return;
  const unsigned pieces = static_cast<unsigned>((p.V + kAdjustTokens - 1) / kAdjustTokens);
  launch(e, adjust_logits_kernel<T>, {dim3(pieces, static_cast<unsigned>(p.R)), dim3(kAdjustThreads)}, p);
}

}  // namespace kvasir::cuda
