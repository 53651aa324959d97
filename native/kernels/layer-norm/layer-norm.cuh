#pragma once

// One warp takes a row, or four where rows are few (norm-row.cuh): a pass for the mean, one for the variance,
// one that normalises, and before them one that forms s where it is to be stored. 2 sizes of T move for every
// element, one more for each of residual and sum; all but the first pass find the row in the nearest cache.
//
// With a residual, s is rounded to T before anything is made of it, as if it were stored: y does not depend
// on whether it is. (For f32 this rounding is the addition's own.)
//
// Kernels that normalise rows on their way use the same two functions, layer_norm_statistics and
// layer_norm_value, and have the same bits.

#include "kernels/layer-norm/layer-norm.h"
#include "kernels/layer-norm/norm-row.cuh"

namespace kvasir::cuda {

// The mean is high + low: high as f32 could hold it, low what the differences from it still average to.
// Without low a row of equal numbers far from zero would come out as +-1 instead of 0.
struct LayerNormStatistics {
  float high, low;
  float rstd;  // 1 / sqrt(variance + epsilon)
};

// Of a row (NormRow or HeldRow), by all lanes of a warp, each of which gets them.
template <class R>
__device__ __forceinline__ LayerNormStatistics layer_norm_statistics(const R& row, float epsilon) {
  const float count = static_cast<float>(row.C);
  float sums[kGroup] = {};
  for_each_lane_group(row, [&](int, auto, const float(&s)[kGroup]) {
#pragma unroll
    for (int i = 0; i < kGroup; i++) sums[i] = sum(sums[i], s[i]);
  });
  const float high = lane_groups_sum(sums) / count;
  float first[kGroup] = {}, second[kGroup] = {};  // moments of the differences from high
  for_each_lane_group(row, [&](int c, auto, const float(&s)[kGroup]) {
#pragma unroll
    for (int i = 0; i < kGroup; i++) {
      const float d = c + i < row.C ? difference(s[i], high) : 0.0f;
      first[i] = sum(first[i], d);
      second[i] = fmaf(d, d, second[i]);
    }
  });
  const float low = lane_groups_sum(first) / count;
  const float variance = fmaf(-low, low, lane_groups_sum(second) / count);
  return {high, low, 1.0f / sqrtf(sum(variance < 0.0f ? 0.0f : variance, epsilon))};
}

// y of one element of the row, not yet rounded to T. weight 1 and bias -0 where there are none, which changes
// nothing.
__device__ __forceinline__ float layer_norm_value(float s, const LayerNormStatistics& row, float weight,
                                                  float bias) {
  const float d = difference(difference(s, row.high), row.low);
  return fmaf(product(d, row.rstd), weight, bias);
}

template <class T>
__global__ void __launch_bounds__(32 * kNormWarps) layer_norm_kernel(LayerNorm p) {
  ptx::let_successor_start();
  ptx::wait_for_predecessor();
  const NormThread t = norm_thread();
  if (t.n >= p.N) return;
  const NormRow<T> row = norm_row<T>(p, t);
  const LayerNormStatistics statistics = layer_norm_statistics(row, p.epsilon);
  wait_for_warps_of_row();  // y may be x
  T* y = static_cast<T*>(p.y) + t.n * p.y_stride;
  const bool aligned = row.is_aligned() && is_aligned(y) && is_aligned(p.weight) && is_aligned(p.bias);
  for_each_row_group(row, aligned, t.thread, t.threads, [&](int c, auto count, float(&s)[kGroup]) {
    float weight[kGroup], bias[kGroup];
    load_parameters(p.weight, c, count, 1.0f, weight);
    load_parameters(p.bias, c, count, -0.0f, bias);
#pragma unroll
    for (int i = 0; i < kGroup; i++) s[i] = layer_norm_value(s[i], statistics, weight[i], bias[i]);
    store_group(y + c, count, s);
  });
}

}  // namespace kvasir::cuda
