#pragma once

// Appending to the paged cache with keys by position.
//
// A block row (blockIdx.y) takes a token; its threads share out the token's pieces: of every key and value
// head 8 channels each, or of a key or query that is rotated 8 pairs. Each warp finds the token's sequence,
// and with it the place in the cache, for itself. Reads k and v once and writes them once; q is read and
// written once.
//
// A cache of bytes: a warp takes a head of a token, its key, its value or, where they are rotated, a query. A key or
// value passes through shared memory as f32, is scaled by its largest number, and leaves 8 channels a lane.

#include <cfloat>

#include "device/cuda/cuda.h"
#include "kernels/kv-append/kv-append.h"
#include "kernels/rope/rotation.cuh"

namespace kvasir::cuda {

// The cache's sizes in elements, and the pieces that heads are divided into.
struct KvAppendShape {
  int64_t block, head, keys;  // of a block, of a head in it, of the head's keys, behind which lie its values
  int64_t DP;                 // of a position of a head
  int64_t head_bytes, scales_at;               // of a head in a block: all of it, and where its scales begin
  int key_pieces, value_pieces, query_pieces;  // a head; query_pieces 0 where q is not touched
};

inline KvAppendShape kv_append_shape(const KvAppend& p) {
  const KvCacheLayer& cache = p.cache;
  const int64_t DP = KvCacheLayer::padded(cache.D);
  const int64_t pairs = p.table == nullptr ? 0 : pair_groups(p.P);
  const int64_t others = DP - (p.table == nullptr ? 0 : 2 * p.P);
  return {cache.head_elements() * cache.KH,
          cache.head_elements(),
          cache.key_elements(),
          DP,
          cache.head_bytes(),
          cache.key_bytes() + cache.value_bytes(),
          static_cast<int>(pairs + (others + kGroup - 1) / kGroup),
          static_cast<int>(DP / kGroup),
          static_cast<int>(pairs)};
}

// The sequence that owns token n, S where none does: how many end at or before n. All lanes of a warp look
// together, at 32 sequences' ends at a time.
__device__ __forceinline__ int64_t sequence_of(const StepTables& t, int64_t n) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  int64_t first = 0, step = 1;
  while (step * 32 < t.S) step *= 32;
  for (;; step /= 32) {
    const int64_t s = first + (lane + 1) * step;
    const bool before = s <= t.S && t.query_starts[s] <= n;
    first += step * __popc(__ballot_sync(kAllLanes, before));
    if (step == 1) return first;
  }
}

// Where a token's keys and values lie in the cache: block -1 where it belongs to no sequence.
struct TokenPlace {
  int64_t block = -1, in_block = 0;
};

__device__ __forceinline__ TokenPlace place_of_token(const StepTables& t, int64_t n) {
  const int64_t s = sequence_of(t, n);
  if (s >= t.S) return {};
  const int64_t position = t.context_lengths[s] - (t.query_starts[s + 1] - n);
  return {t.block_tables[s * t.W + position / kBlockTokens], position % kBlockTokens};
}

// Calls body(n, place) for the tokens of a block row. The step's tables are there before its first kernel: the place of
// the first token is found before the kernel's predecessor has ended.
template <class F>
__device__ __forceinline__ void for_each_token(const StepTables& t, const F& body) {
  TokenPlace place = place_of_token(t, blockIdx.y);
  ptx::wait_for_predecessor();
  for (int64_t n = blockIdx.y; n < t.N; n += gridDim.y) {
    if (n != blockIdx.y) place = place_of_token(t, n);
    if (place.block >= 0) body(n, place);
  }
}

// Writes channels c .. c+7 of a head, zeros beyond D.
template <class T>
__device__ __forceinline__ void append_channels(const T* x, int64_t c, int64_t D, int64_t DP, T* to) {
  float values[kGroup];
  load_group(x + c, D - c, values);
  store_group(to + c, DP - c, values);
}

// Piece i of a key: of those that hold pairs, if any, or of the other channels.
template <class T>
__device__ __forceinline__ void append_key(const KvAppend& p, const KvAppendShape& shape, int64_t n,
                                           int64_t h, int i, T* to) {
  const T* k = static_cast<const T*>(p.k) + n * p.k_stride + h * p.cache.D;
  if (i < shape.query_pieces)
    return rotate_pairs(k, p.table + n * 2 * p.P, p.P, i * kGroup, p.interleaved, to);
  const int64_t rotated = p.table == nullptr ? 0 : 2 * p.P;
  append_channels(k, rotated + (i - shape.query_pieces) * kGroup, p.cache.D, shape.DP, to);
}

template <class T>
__device__ __forceinline__ void append_piece(const KvAppend& p, const KvAppendShape& shape, int64_t n,
                                             int piece, T* place) {
  const int keys = static_cast<int>(p.cache.KH) * shape.key_pieces;
  const int values = static_cast<int>(p.cache.KH) * shape.value_pieces;
  if (piece < keys) {
    const int h = piece / shape.key_pieces;
    append_key(p, shape, n, h, piece % shape.key_pieces, place + h * shape.head);
  } else if (piece < keys + values) {
    const int h = (piece - keys) / shape.value_pieces, c = (piece - keys) % shape.value_pieces * kGroup;
    const T* v = static_cast<const T*>(p.v) + n * p.v_stride + h * p.cache.D;
    append_channels(v, c, p.cache.D, shape.DP, place + h * shape.head + shape.keys);
  } else {
    const int h = (piece - keys - values) / shape.query_pieces;
    const int i = (piece - keys - values) % shape.query_pieces * kGroup;
    T* q = static_cast<T*>(p.q) + n * p.q_stride + h * p.cache.D;
    rotate_pairs(q, p.table + n * 2 * p.P, p.P, i, p.interleaved, q);
  }
}

constexpr int kAppendThreads = 128;

template <class T>
__global__ void __launch_bounds__(kAppendThreads)
    kv_append_kernel(KvAppend p, KvAppendShape shape, int pieces) {
  ptx::let_successor_start();
  const int piece = static_cast<int>(blockIdx.x * kAppendThreads + threadIdx.x);
  for_each_token(p.tables, [&](int64_t n, const TokenPlace& place) {
    T* key = reinterpret_cast<T*>(p.cache.data) + place.block * shape.block + place.in_block * shape.DP;
    if (piece < pieces) append_piece(p, shape, n, piece, key);
  });
}

constexpr int kAppendWarps = kAppendThreads / 32;
constexpr int kMaxHeadSize = 256;  // 8 channels a lane

// A key or value of f32 numbers as bytes: to the nearest multiple of the largest / 127. What is not finite makes all of
// it NaN. `row` is the warp's, zeros from D to DP.
__device__ __forceinline__ void store_bytes(const float* row, int64_t DP, int8_t* to, float* scale_to) {
  const int lane = static_cast<int>(threadIdx.x % 32), c = lane * kGroup;
  float x[kGroup] = {};
  if (c < DP) load_whole(row + c, x);
  float largest = 0.0f;
  bool finite = true;
#pragma unroll
  for (int i = 0; i < kGroup; i++) {
    largest = fmaxf(largest, fabsf(x[i]));
    finite = finite && fabsf(x[i]) <= FLT_MAX;
  }
  largest = warp_max<32>(largest);
  const float scale =
      __all_sync(kAllLanes, finite) != 0 ? __fdiv_rn(largest, 127.0f) : __uint_as_float(0x7fc00000u);
  const float inverse = scale >= 0x1p-100f ? __fdiv_rn(1.0f, scale) : 0.0f;
  if (lane == 0) *scale_to = scale;
  if (c >= DP) return;
  uint32_t words[2] = {};
#pragma unroll
  for (int i = 0; i < kGroup; i++) {
    const int rounded = inverse > 0 ? __float2int_rn(product(x[i], inverse)) : 0;
    words[i / 4] |= (static_cast<uint32_t>(rounded) & 0xffu) << (i % 4 * 8);
  }
  *reinterpret_cast<uint2*>(to + c) = make_uint2(words[0], words[1]);
}

// Head h of a token's keys, of its values behind them, of its queries behind those.
template <class T>
__device__ __forceinline__ void append_head(const KvAppend& p, const KvAppendShape& shape, int64_t n, int h,
                                            const TokenPlace& place, float* row) {
  const int lane = static_cast<int>(threadIdx.x % 32), KH = static_cast<int>(p.cache.KH);
  const int64_t D = p.cache.D, DP = shape.DP, rotated = p.table == nullptr ? 0 : 2 * p.P;
  const float* angles = p.table + n * 2 * p.P;
  if (h >= 2 * KH) {
    T* q = static_cast<T*>(p.q) + n * p.q_stride + (h - 2 * KH) * D;
    if (lane < shape.query_pieces) rotate_pairs(q, angles, p.P, lane * kGroup, p.interleaved, q);
    return;
  }
  const bool is_key = h < KH;
  const T* x = is_key ? static_cast<const T*>(p.k) + n * p.k_stride + h * D
                      : static_cast<const T*>(p.v) + n * p.v_stride + (h - KH) * D;
  const int64_t first = is_key ? rotated : 0;
  if (first > 0 && lane < shape.query_pieces) rotate_pairs(x, angles, p.P, lane * kGroup, p.interleaved, row);
  for (int64_t c = first + lane; c < DP; c += 32) row[c] = c < D ? to_float(x[c]) : 0.0f;
  __syncwarp();
  std::byte* keys = p.cache.data + (place.block * KH + (is_key ? h : h - KH)) * shape.head_bytes;
  store_bytes(
      row, DP, reinterpret_cast<int8_t*>(is_key ? keys : keys + shape.keys) + place.in_block * DP,
      reinterpret_cast<float*>(keys + shape.scales_at) + (is_key ? 0 : kBlockTokens) + place.in_block);
}

template <class T>
__global__ void __launch_bounds__(kAppendThreads)
    kv_append_bytes_kernel(KvAppend p, KvAppendShape shape, int heads) {
  __shared__ float rows[kAppendWarps][kMaxHeadSize];
  ptx::let_successor_start();
  const int warp = static_cast<int>(threadIdx.x) / 32, h = static_cast<int>(blockIdx.x) * kAppendWarps + warp;
  for_each_token(p.tables, [&](int64_t n, const TokenPlace& place) {
    if (h < heads) append_head<T>(p, shape, n, h, place, rows[warp]);
    __syncwarp();  // the row is free
  });
}

template <class T>
void launch_kv_append(const KvAppend& p, Execution& e) {
  constexpr int64_t kMaxGridRows = 65535;
  const bool bytes = p.cache.dtype == DType::kQ8;
  if ((p.cache.dtype != p.dtype && !bytes) || p.cache.key_layout != KeyLayout::kByPosition)
    throw Error(ErrorKind::kInternal, "kv-append: a cache of another kind on CUDA");
  const KvAppendShape shape = kv_append_shape(p);
  const int64_t queries = p.table == nullptr ? 0 : p.H * shape.query_pieces;
  const int64_t pieces = p.cache.KH * (shape.key_pieces + shape.value_pieces) + queries;
  if (p.tables.N == 0) return;
  const auto rows = static_cast<unsigned>(p.tables.N < kMaxGridRows ? p.tables.N : kMaxGridRows);
  if (bytes) {
    const int64_t heads = 2 * p.cache.KH + (p.table == nullptr ? 0 : p.H);
    const dim3 grid(static_cast<unsigned>((heads + kAppendWarps - 1) / kAppendWarps), rows);
    launch(e, kv_append_bytes_kernel<T>, {grid, dim3(kAppendThreads)}, p, shape, static_cast<int>(heads));
    return;
  }
  const dim3 grid(static_cast<unsigned>((pieces + kAppendThreads - 1) / kAppendThreads), rows);
  launch(e, kv_append_kernel<T>, {grid, dim3(kAppendThreads)}, p, shape, static_cast<int>(pieces));
}

}  // namespace kvasir::cuda
