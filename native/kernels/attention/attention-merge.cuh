#pragma once

// Splits of the same rows in several blocks: each block leaves its sums in memory, and the one that comes
// last adds all of them in ascending order. A thread adds four channels of a row, all of their splits.

#include "kernels/attention/attention-rows.cuh"

namespace kvasir::cuda::attend {

// The splits in which a piece of rows has keys, and how many of the grid's blocks share them.
struct SplitRange {
  int first, count;

  __device__ __forceinline__ int blocks() const { return smaller(count, static_cast<int>(gridDim.x)); }
};

__device__ __forceinline__ SplitRange splits_of(KeyRange keys) {
  const int first = keys.first / kSplit;
  return {first, keys.empty() ? 0 : (keys.last - 1) / kSplit - first + 1};
}

// Where a row's i-th split is left.
template <class T>
__device__ __forceinline__ int64_t partial_index(const Arguments<T>& a, const QueryRows& rows, int row,
                                                 int i) {
  const int64_t sequence = static_cast<int64_t>(rows.sequence) * a.KH + rows.head;
  return (sequence * a.partials.rows + rows.first + row) * a.partials.splits + i;
}

// Whether this block is the last of `blocks` that come here, then with the others' writes before it. By all
// threads.
__device__ __forceinline__ bool is_last(uint32_t* counter, int blocks) {
  __threadfence();
  __syncthreads();
  bool last = false;
  if (threadIdx.x == 0) {
    last = atomicAdd(counter, 1u) + 1 == static_cast<uint32_t>(blocks);
    if (last) *counter = 0;
  }
  last = __syncthreads_or(last) != 0;
  __threadfence();
  return last;
}

template <class T>
__device__ __forceinline__ void store_merged(const Arguments<T>& a, const QueryRows& rows, int row, int d,
                                             const float (&y)[4], float weight) {
  T* to = a.y + row_offset(a, rows, row, a.y_stride);
  const float inverse = 1.0f / weight;
#pragma unroll
  for (int i = 0; i < 4; i++)
    if (d + i < a.D) to[d + i] = from_float<T>(normalized(y[i], inverse));
}

template <class T>
__device__ __forceinline__ void merge_channels(const Arguments<T>& a, const QueryRows& rows, int splits,
                                               int row, int d) {
  const int64_t index = partial_index(a, rows, row, 0);
  const float* parts = a.partials.y + index * a.DP + d;
  RowSum total;
  float y[4] = {};
#pragma unroll 8
  for (int i = 0; i < splits; i++) {
    const float4 part = *reinterpret_cast<const float4*>(parts + static_cast<int64_t>(i) * a.DP);
    const MergeFactors factors = merge<T>(total, a.partials.sums[index + i]);
    y[0] = merged(y[0], part.x, factors);
    y[1] = merged(y[1], part.y, factors);
    y[2] = merged(y[2], part.z, factors);
    y[3] = merged(y[3], part.w, factors);
  }
  store_merged(a, rows, row, d, y, total.weight);
}

template <class T>
__device__ __forceinline__ void merge_splits(const Arguments<T>& a, const QueryRows& rows, int splits) {
  const int quads = a.DP / 4;
  for (int i = static_cast<int>(threadIdx.x); i < rows.count * quads; i += static_cast<int>(blockDim.x))
    merge_channels(a, rows, splits, i / quads, i % quads * 4);
}

}  // namespace kvasir::cuda::attend
