#pragma once

#include "device/cuda/arithmetic.cuh"
#include "device/cuda/cuda.h"

// Access to rows in groups of 8 neighbouring elements, as f32, and loops over the groups of a matrix.
//
// A group of 16-bit elements is 16 bytes, one of f32 twice 16 bytes. What is whole and 16-byte aligned moves
// in pieces of 16 bytes, the rest element by element: slower, with the same result.
namespace kvasir::cuda {

constexpr int kGroup = 8;

__host__ __device__ __forceinline__ bool is_aligned(const void* p) {
  return reinterpret_cast<uintptr_t>(p) % 16 == 0;
}

__device__ __forceinline__ void load_whole(const float* p, float (&x)[kGroup]) {
  const float4 low = *reinterpret_cast<const float4*>(p), high = *reinterpret_cast<const float4*>(p + 4);
  x[0] = low.x, x[1] = low.y, x[2] = low.z, x[3] = low.w;
  x[4] = high.x, x[5] = high.y, x[6] = high.z, x[7] = high.w;
}

template <class T>
__device__ __forceinline__ void load_whole(const T* p, float (&x)[kGroup]) {
  const uint4 raw = *reinterpret_cast<const uint4*>(p);
  const uint32_t pairs[4] = {raw.x, raw.y, raw.z, raw.w};
#pragma unroll
  for (int i = 0; i < 4; i++) {
    const float2 pair = unpack2<T>(pairs[i]);
    x[2 * i] = pair.x;
    x[2 * i + 1] = pair.y;
  }
}

__device__ __forceinline__ void store_whole(float* p, const float (&x)[kGroup]) {
  *reinterpret_cast<float4*>(p) = make_float4(x[0], x[1], x[2], x[3]);
  *reinterpret_cast<float4*>(p + 4) = make_float4(x[4], x[5], x[6], x[7]);
}

template <class T>
__device__ __forceinline__ void store_whole(T* p, const float (&x)[kGroup]) {
  *reinterpret_cast<uint4*>(p) =
      make_uint4(pack2<T>(x[0], x[1]), pack2<T>(x[2], x[3]), pack2<T>(x[4], x[5]), pack2<T>(x[6], x[7]));
}

// In the place of a count: all 8 elements exist, and p is 16-byte aligned.
struct WholeGroup {};

template <class T>
__device__ __forceinline__ void load_group(const T* p, WholeGroup, float (&x)[kGroup]) {
  load_whole(p, x);
}

template <class T>
__device__ __forceinline__ void store_group(T* p, WholeGroup, const float (&x)[kGroup]) {
  store_whole(p, x);
}

// The elements p[0] .. p[7], of which `count` exist (none where it is negative). The others are 0, not read.
template <class T>
__device__ __forceinline__ void load_group(const T* p, int64_t count, float (&x)[kGroup]) {
  if (count >= kGroup && is_aligned(p)) return load_whole(p, x);
#pragma unroll
  for (int i = 0; i < kGroup; i++) x[i] = i < count ? to_float(p[i]) : 0.0f;
}

// Rounds to T and writes the first `count` of p[0] .. p[7].
template <class T>
__device__ __forceinline__ void store_group(T* p, int64_t count, const float (&x)[kGroup]) {
  if (count >= kGroup && is_aligned(p)) return store_whole(p, x);
#pragma unroll
  for (int i = 0; i < kGroup; i++)
    if (i < count) p[i] = from_float<T>(x[i]);
}

// As a load and a store, bit for bit.
template <class T>
__device__ __forceinline__ void copy_group(const T* from, T* to, int64_t count) {
  if (count >= kGroup && is_aligned(from) && is_aligned(to)) {
#pragma unroll
    for (int i = 0; i < kGroup; i += 16 / static_cast<int>(sizeof(T)))
      *reinterpret_cast<uint4*>(to + i) = *reinterpret_cast<const uint4*>(from + i);
    return;
  }
#pragma unroll
  for (int i = 0; i < kGroup; i++)
    if (i < count) to[i] = from[i];
}

constexpr int kPieceThreads = 256;

// Calls body(n, piece) for every row n of N and every one of its pieces, one thread for each.
// For kernels that launch_pieces launched.
template <class F>
__device__ __forceinline__ void for_each_piece(int64_t N, int64_t pieces, const F& body) {
  const int64_t piece = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (piece >= pieces) return;
  const int64_t step = static_cast<int64_t>(gridDim.y) * blockDim.y;
  for (int64_t n = static_cast<int64_t>(blockIdx.y) * blockDim.y + threadIdx.y; n < N; n += step)
    body(n, piece);
}

// Calls body(n, c, count) for the groups of a matrix (N,C): elements c .. c+count-1 of row n.
template <class F>
__device__ __forceinline__ void for_each_group(int64_t N, int64_t C, const F& body) {
  for_each_piece(N, (C + kGroup - 1) / kGroup, [&](int64_t n, int64_t group) {
    const int64_t c = group * kGroup;
    body(n, c, C - c < kGroup ? C - c : int64_t{kGroup});
  });
}

// Blocks of 256 threads, as many of them side by side in a row as it has pieces.
inline LaunchShape piece_shape(int64_t N, int64_t pieces) {
  constexpr int64_t kMaxGridRows = 65535;
  unsigned across = 1;
  while (across < pieces && across < kPieceThreads) across *= 2;
  const unsigned rows = kPieceThreads / across;
  const int64_t grid_rows = (N + rows - 1) / rows;
  return {dim3(static_cast<unsigned>((pieces + across - 1) / across),
               static_cast<unsigned>(grid_rows < kMaxGridRows ? grid_rows : kMaxGridRows)),
          dim3(across, rows)};
}

template <class P>
void launch_pieces(Execution& e, void (*kernel)(P), int64_t N, int64_t pieces,
                   const std::type_identity_t<P>& p) {
  if (N > 0 && pieces > 0) launch(e, kernel, piece_shape(N, pieces), p);
}

template <class P>
void launch_groups(Execution& e, void (*kernel)(P), int64_t N, int64_t C, const std::type_identity_t<P>& p) {
  launch_pieces(e, kernel, N, (C + kGroup - 1) / kGroup, p);
}

}  // namespace kvasir::cuda
