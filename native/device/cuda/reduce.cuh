#pragma once

#include <cstdint>

// Sums and maxima over the lanes of a warp and the warps of a block, in an order that depends on nothing.
namespace kvasir::cuda {

constexpr uint32_t kAllLanes = 0xffffffffu;

// Over groups of kLanes neighbours, a power of two; every lane gets the same bits.
template <int kLanes = 32>
__device__ __forceinline__ float warp_sum(float x) {
#pragma unroll
  for (int offset = kLanes / 2; offset > 0; offset /= 2) x += __shfl_xor_sync(kAllLanes, x, offset);
  return x;
}

// NaN loses against any number, as in fmaxf.
template <int kLanes = 32>
__device__ __forceinline__ float warp_max(float x) {
#pragma unroll
  for (int offset = kLanes / 2; offset > 0; offset /= 2) x = fmaxf(x, __shfl_xor_sync(kAllLanes, x, offset));
  return x;
}

template <int kLanes = 32>
__device__ __forceinline__ int warp_sum(int x) {
#pragma unroll
  for (int offset = kLanes / 2; offset > 0; offset /= 2) x += __shfl_xor_sync(kAllLanes, x, offset);
  return x;
}

template <int kLanes = 32>
__device__ __forceinline__ int warp_max(int x) {
#pragma unroll
  for (int offset = kLanes / 2; offset > 0; offset /= 2) {
    const int other = __shfl_xor_sync(kAllLanes, x, offset);
    x = x < other ? other : x;
  }
  return x;
}

// Over a block of blockDim.x threads, a multiple of 32; every thread gets the same bits. `scratch` is shared
// memory of 32 elements that only these functions touch.
template <class T>
__device__ __forceinline__ T block_sum(T x, T* scratch) {
  x = warp_sum(x);
  __syncthreads();  // the last use of scratch is over
  if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = x;
  __syncthreads();
  return warp_sum(threadIdx.x % 32 < blockDim.x / 32 ? scratch[threadIdx.x % 32] : T(0));
}

template <class T>
__device__ __forceinline__ T block_max(T x, T* scratch) {
  x = warp_max(x);
  __syncthreads();  // the last use of scratch is over
  if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = x;
  __syncthreads();
  return warp_max(scratch[threadIdx.x % 32 < blockDim.x / 32 ? threadIdx.x % 32 : 0]);
}

}  // namespace kvasir::cuda
