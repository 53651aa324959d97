#pragma once

// One warp takes a row (or a head of one), or four where rows are few (norm-row.cuh): a pass for the sum of squares, one that
// scales, and before them one that forms s where it is to be stored. 2 sizes of T move for every element, one
// more for each of residual and sum; all but the first pass find the row in the nearest cache.
//
// With a residual, s is rounded to T before anything is made of it, as if it were stored: y does not depend
// on whether it is. (For f32 this rounding is the addition's own.)
//
// Kernels that normalise rows on their way use the same two functions, rms_norm_statistics and
// rms_norm_value, and have the same bits.

#include "kernels/layer-norm/norm-row.cuh"
#include "kernels/rms-norm/rms-norm.h"

namespace kvasir::cuda {

struct RmsNormStatistics {
  float scale;  // 1 / sqrt(mean of squares + epsilon)
};

// Of a row (NormRow or HeldRow), by all lanes of a warp, each of which gets them.
template <class R>
__device__ __forceinline__ RmsNormStatistics rms_norm_statistics(const R& row, float epsilon) {
  float squares[kGroup] = {};
  for_each_lane_group(row, [&](int, auto, const float(&s)[kGroup]) {
#pragma unroll
    for (int i = 0; i < kGroup; i++) squares[i] = fmaf(s[i], s[i], squares[i]);
  });
  const float mean = lane_groups_sum(squares) / static_cast<float>(row.C);
  return {1.0f / sqrtf(sum(mean, epsilon))};
}

// y of one element of the row, not yet rounded to T. weight 1 where there is none.
__device__ __forceinline__ float rms_norm_value(float s, const RmsNormStatistics& row, float weight) {
  return product(product(s, row.scale), weight);
}

template <class T>
__global__ void __launch_bounds__(32 * kNormWarps) rms_norm_kernel(RmsNorm p) {
  ptx::let_successor_start();
  ptx::wait_for_predecessor();
  const NormThread t = norm_thread();
  if (t.n >= p.N * p.H) return;
  const NormRow<T> row = norm_row<T>(p, t);
  const RmsNormStatistics statistics = rms_norm_statistics(row, p.epsilon);
  wait_for_warps_of_row();  // y may be x
  T* y = static_cast<T*>(p.y) + row_offset(p, t.n, p.y_stride);
  const bool aligned = row.is_aligned() && is_aligned(y) && is_aligned(p.weight);
  for_each_row_group(row, aligned, t.thread, t.threads, [&](int c, auto count, float(&s)[kGroup]) {
    float weight[kGroup];
    load_parameters(p.weight, c, count, 1.0f, weight);
#pragma unroll
    for (int i = 0; i < kGroup; i++) s[i] = rms_norm_value(s[i], statistics, weight[i]);
    store_group(y + c, count, s);
  });
}

}  // namespace kvasir::cuda
