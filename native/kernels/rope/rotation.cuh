#pragma once

// The rotation of 8 pairs of a head's channels. Products are rounded before they are summed, in both layouts
// and wherever a head is rotated, so its bits depend on neither.

#include "device/cuda/vector.cuh"

namespace kvasir::cuda {

// Groups of 8 pairs in P.
__host__ __device__ __forceinline__ int64_t pair_groups(int64_t P) { return (P + kGroup - 1) / kGroup; }

// a' = a cos - b sin, b' = b cos + a sin, of pairs i .. i+7; `table` has P cosines, then P sines.
__device__ __forceinline__ void rotate(const float* table, int64_t P, int64_t i, float (&a)[kGroup],
                                       float (&b)[kGroup]) {
  float cosines[kGroup], sines[kGroup];
  load_group(table + i, P - i, cosines);
  load_group(table + P + i, P - i, sines);
#pragma unroll
  for (int j = 0; j < kGroup; j++) {
    const float first = difference(product(a[j], cosines[j]), product(b[j], sines[j]));
    b[j] = sum(product(b[j], cosines[j]), product(a[j], sines[j]));
    a[j] = first;
  }
}

// Pairs (x[i], x[i+P]).
template <class T, class Y>
__device__ __forceinline__ void rotate_halves(const T* x, const float* table, int64_t P, int64_t i, Y* y) {
  float a[kGroup], b[kGroup];
  load_group(x + i, P - i, a);
  load_group(x + P + i, P - i, b);
  rotate(table, P, i, a, b);
  store_group(y + i, P - i, a);
  store_group(y + P + i, P - i, b);
}

// Pairs (x[2i], x[2i+1]).
template <class T, class Y>
__device__ __forceinline__ void rotate_neighbours(const T* x, const float* table, int64_t P, int64_t i,
                                                  Y* y) {
  const int64_t c = 2 * i, count = 2 * (P - i);
  float low[kGroup], high[kGroup], a[kGroup], b[kGroup];
  load_group(x + c, count, low);
  load_group(x + c + kGroup, count - kGroup, high);
#pragma unroll
  for (int j = 0; j < kGroup; j++) {
    a[j] = j < 4 ? low[2 * j % kGroup] : high[2 * j % kGroup];
    b[j] = j < 4 ? low[2 * j % kGroup + 1] : high[2 * j % kGroup + 1];
  }
  rotate(table, P, i, a, b);
#pragma unroll
  for (int j = 0; j < 4; j++) {
    low[2 * j] = a[j], low[2 * j + 1] = b[j];
    high[2 * j] = a[j + 4], high[2 * j + 1] = b[j + 4];
  }
  store_group(y + c, count, low);
  store_group(y + c + kGroup, count - kGroup, high);
}

// Rotates pairs i .. i+7 of P of the head x by a row of the table (2P) into y, which may be x.
template <class T, class Y>
__device__ __forceinline__ void rotate_pairs(const T* x, const float* table, int64_t P, int64_t i,
                                             bool interleaved, Y* y) {
  if (interleaved) {
    rotate_neighbours(x, table, P, i, y);
  } else {
    rotate_halves(x, table, P, i, y);
  }
}

}  // namespace kvasir::cuda
