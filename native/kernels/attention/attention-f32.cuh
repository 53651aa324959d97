#pragma once

// Attention in f32, without matrix instructions, in the same tiles and splits.
//
// Blocks of 128 threads have 16 rows, 8 threads a row: for scores each takes every eighth key of a tile, for
// values every eighth group of four channels. A score has four accumulators that take every fourth channel, a
// sum of values one, both in ascending order. A block for decoding takes some splits of its rows
// (attention-merge.cuh), one for prefill all.
//
// Shared memory: queries, one block of keys or of values (32 positions), weights of a tile. Registers: a
// row's share of the sums of this split and of those before.

#include "kernels/attention/attention-decode.cuh"

namespace kvasir::cuda::attend {

constexpr int kF32Threads = 128;
constexpr int kF32Rows = 16;
constexpr int kRowThreads = kF32Threads / kF32Rows;
constexpr int kThreadQuads = 256 / 4 / kRowThreads;  // groups of four channels a thread has at most
static_assert(kF32Rows == kDecodeRows);

// The parts of the dynamic shared memory.
struct F32Shared {
  float* queries;  // (16,DP), rows stride apart
  float* tile;     // (32,DP), rows stride apart
  float* weights;  // (16,kKeyTile)
  int stride;

  static constexpr int64_t bytes(int DP) {
    return (static_cast<int64_t>(kF32Rows + kBlockKeys) * row_stride<float>(DP) + kF32Rows * kKeyTile) * 4;
  }
  static __device__ __forceinline__ F32Shared of(int DP) {
    float* queries = dynamic_shared<float>();
    const int stride = row_stride<float>(DP);
    float* tile = queries + kF32Rows * stride;
    return {queries, tile, tile + kBlockKeys * stride, stride};
  }
};

__device__ __forceinline__ float4 load_quad(const float* p) { return *reinterpret_cast<const float4*>(p); }

struct F32Attention {
  // A thread's part of its row.
  struct Sums {
    float4 y[kThreadQuads] = {};
    RowSum row;
  };

  const Arguments<float>& a;
  const QueryRows rows;
  const KeyRange keys;  // what any row of the block sees
  const F32Shared shared = F32Shared::of(a.DP);
  const int row = static_cast<int>(threadIdx.x) / kRowThreads,
            lane = static_cast<int>(threadIdx.x) % kRowThreads;
  const RowRule rule = row_rule(a, rows, row);

  // Brings a block of keys or values; what was in its place is done with.
  __device__ __forceinline__ void copy(TilePart part, int32_t block, int start) const {
    __syncthreads();
    copy_block<kF32Threads, 4>(shared.tile, a.DP, cache_part(a, part, block, rows.head), a.DP, keys,
                               KeyRange{0, 0}, start, static_cast<int>(threadIdx.x));
    ptx::commit_copies();
    ptx::wait_for_copies<0>();
    __syncthreads();
  }

  __device__ __forceinline__ float score(int key, int position) const {
    const float* q = shared.queries + row * shared.stride;
    const float* k = shared.tile + key * shared.stride;
    float4 sums = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    for (int d = 0; d < a.DP; d += 4) {
      const float4 left = load_quad(q + d), right = load_quad(k + d);
      sums = make_float4(fmaf(left.x, right.x, sums.x), fmaf(left.y, right.y, sums.y),
                         fmaf(left.z, right.z, sums.z), fmaf(left.w, right.w, sums.w));
    }
    float x = sum(sum(sums.x, sums.y), sum(sums.z, sums.w));
    x = product(x, a.rule.factor);
    if (a.rule.softcap > 0) x = capped(x, a.rule);
    if (a.slopes != nullptr) x = sloped(x, rule, position);
    return masked(x, rule, position);
  }

  __device__ __forceinline__ void add_value(float weight, int key, Sums& sums) const {
    const float* v = shared.tile + key * shared.stride + lane * 4;
#pragma unroll
    for (int i = 0; i < kThreadQuads; i++) {
      if ((i * kRowThreads + lane) * 4 >= a.DP) break;
      const float4 x = load_quad(v + i * kRowThreads * 4);
      float4& y = sums.y[i];
      y = make_float4(fmaf(weight, x.x, y.x), fmaf(weight, x.y, y.y), fmaf(weight, x.z, y.z),
                      fmaf(weight, x.w, y.w));
    }
  }

  // The thread's scores of a tile become weights.
  __device__ __forceinline__ void weigh(float (&s)[kKeyTile / kRowThreads], Sums& sums) const {
    float maximum = kNoScore, weight = 0.0f;
    for (float x : s) maximum = fmaxf(maximum, x);
    maximum = fmaxf(sums.row.maximum, warp_max<kRowThreads>(maximum));
    const float factor = rescale_of<float>(sums.row.maximum, maximum), reference = reference_of(maximum);
    for (float& x : s) {
      x = power_of_two<float>(difference(x, reference));
      weight = sum(weight, x);
    }
    sums.row = {maximum, fmaf(sums.row.weight, factor, weight)};
    for (float4& y : sums.y)
      y = make_float4(product(y.x, factor), product(y.y, factor), product(y.z, factor), product(y.w, factor));
  }

  __device__ __forceinline__ void add_tile(int start, Sums& sums) const {
    constexpr int kBlockScores = kBlockKeys / kRowThreads;  // a thread's
    const TileBlocks tile = find_blocks(a, rows, keys, start);
    float s[kKeyTile / kRowThreads];
#pragma unroll
    for (int b = 0; b < kTileBlocks; b++) {
      copy(TilePart::kKeys, tile.blocks[b], start + b * kBlockKeys);
#pragma unroll
      for (int i = 0; i < kBlockScores; i++)
        s[b * kBlockScores + i] =
            score(i * kRowThreads + lane, start + b * kBlockKeys + i * kRowThreads + lane);
    }
    weigh(s, sums);
    float* weights = shared.weights + row * kKeyTile;
#pragma unroll
    for (int i = 0; i < kKeyTile / kRowThreads; i++) weights[i * kRowThreads + lane] = s[i];
    for (int b = 0; b < kTileBlocks; b++) {
      copy(TilePart::kValues, tile.blocks[b], start + b * kBlockKeys);  // also the weights are there
      for (int key = 0; key < kBlockKeys; key++) add_value(weights[b * kBlockKeys + key], key, sums);
    }
  }

  __device__ __forceinline__ void attend_split(int split, Sums& sums) const {
    const int first = larger(keys.first / kKeyTile * kKeyTile, split * kSplit);
    const int last = smaller(keys.last, (split + 1) * kSplit);
    for (int start = first; start < last; start += kKeyTile) add_tile(start, sums);
    sums.row.weight = warp_sum<kRowThreads>(sums.row.weight);
  }

  __device__ __forceinline__ void add_split(Sums& total, const Sums& split) const {
    const MergeFactors factors = merge<float>(total.row, split.row);
#pragma unroll
    for (int i = 0; i < kThreadQuads; i++) {
      float4& y = total.y[i];
      const float4 x = split.y[i];
      y = make_float4(merged(y.x, x.x, factors), merged(y.y, x.y, factors), merged(y.z, x.z, factors),
                      merged(y.w, x.w, factors));
    }
  }

  // Calls body(d, four channels) for the thread's channels of its row.
  template <class F>
  __device__ __forceinline__ void for_each_quad(const Sums& sums, const F& body) const {
    if (row >= rows.count) return;
#pragma unroll
    for (int i = 0; i < kThreadQuads; i++) {
      const int d = (i * kRowThreads + lane) * 4;
      if (d < a.DP) body(d, sums.y[i]);
    }
  }

  __device__ __forceinline__ void store(const Sums& sums) const {
    for_each_quad(sums, [&](int d, const float4& y) {
      const float channels[4] = {y.x, y.y, y.z, y.w};
      store_merged(a, rows, row, d, channels, sums.row.weight);
    });
  }

  __device__ __forceinline__ void store_partial(int split, const Sums& sums) const {
    for_each_quad(sums, [&](int d, const float4& y) {
      const int64_t index = partial_index(a, rows, row, split);
      if (d == 0) a.partials.sums[index] = sums.row;
      *reinterpret_cast<float4*>(a.partials.y + index * a.DP + d) = y;
    });
  }
};

__device__ __forceinline__ void load_queries(const Arguments<float>& a, const QueryRows& rows) {
  const F32Shared shared = F32Shared::of(a.DP);
  load_queries(a, rows, shared.queries, kF32Rows, shared.stride, a.DP);
}

// The grid is attention_decode's.
static __global__ void __launch_bounds__(kF32Threads)
    attention_decode_f32(const __grid_constant__ Arguments<float> a, int first_sequence) {
  ptx::let_successor_start();
  const QueryRows rows = decode_rows(a, first_sequence + static_cast<int>(blockIdx.z));
  const KeyRange keys = rows.count == 0 ? KeyRange{0, 0} : visible_keys(a, rows, 0, rows.count - 1);
  const SplitRange splits = splits_of(keys);
  ptx::wait_for_predecessor();
  int i = static_cast<int>(blockIdx.x);
  if (i >= splits.count) return;

  load_queries(a, rows);
  const F32Attention attention{a, rows, keys};
  for (; i < splits.count; i += static_cast<int>(gridDim.x)) {
    F32Attention::Sums sums;
    attention.attend_split(splits.first + i, sums);
    attention.store_partial(i, sums);
  }
  if (is_last(decode_counter(a), splits.blocks())) merge_splits(a, rows, splits.count);
}

// Grid (pieces of 16 rows, key/value heads).
static __global__ void __launch_bounds__(kF32Threads, 2)
    attention_prefill_f32(const __grid_constant__ Arguments<float> a) {
  ptx::let_successor_start();
  QueryRows rows =
      find_rows<kF32Rows>(a, static_cast<int>(gridDim.x - 1 - blockIdx.x), static_cast<int>(blockIdx.y));
  if (is_decode(rows.tokens, a.group)) rows.count = 0;
  ptx::wait_for_predecessor();
  if (rows.count == 0) return;

  load_queries(a, rows);
  const KeyRange keys = visible_keys(a, rows, 0, rows.count - 1);
  const SplitRange splits = splits_of(keys);
  const F32Attention attention{a, rows, keys};
  F32Attention::Sums total;
  for (int i = 0; i < splits.count; i++) {
    F32Attention::Sums split;
    attention.attend_split(splits.first + i, split);
    attention.add_split(total, split);
  }
  attention.store(total);
}

}  // namespace kvasir::cuda::attend
