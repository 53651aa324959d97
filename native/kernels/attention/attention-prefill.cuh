#pragma once

// Attention of sequences with many rows: bound by the matrix products.
//
// Grid (pieces of 64 rows, key/value heads), blocks of 4 warps; the pieces that see most keys start first. A
// block goes over the tiles of keys its rows see. A warp has 16 rows and all of their channels; above 128
// channels, where their sums do not fit the registers, two warps have 16 rows and half of the channels each,
// both forming all scores, and a piece is 32 rows.
//
// Shared memory: one tile of keys and one of values. While scores are formed the values arrive, and while the
// values are summed up the next keys. Registers: queries (above 128 channels they are in shared memory),
// scores, the sums of this split and of those before.
//
// Bytes moved: keys and values once for every piece, from the second-level cache but for the first of a
// group.

#include "kernels/attention/attention-tile.cuh"

namespace kvasir::cuda::attend {

constexpr int kPrefillWarps = 4;
constexpr int kPrefillThreads = 32 * kPrefillWarps;

template <int kChannels>
constexpr int kChannelSlices = kChannels > 128 ? 2 : 1;

template <int kChannels>
constexpr int kPrefillRows = 16 * kPrefillWarps / kChannelSlices<kChannels>;

// The queries of a warp, kept in registers.
template <class T, int kChannels>
struct KeptQueries {
  static constexpr bool kKept = true;
  uint32_t q[kChannels / 16][4];

  __device__ __forceinline__ explicit KeptQueries(const LeftOperand& queries) {
#pragma unroll
    for (int k = 0; k < kChannels / 16; k++) queries.load(k, q[k]);
  }
  __device__ __forceinline__ void operator()(int k, uint32_t (&a)[4]) const {
#pragma unroll
    for (int i = 0; i < 4; i++) a[i] = q[k][i];
  }
};

// Read from shared memory each time.
struct SharedQueries {
  static constexpr bool kKept = false;
  LeftOperand queries;

  __device__ __forceinline__ explicit SharedQueries(const LeftOperand& queries) : queries(queries) {}
  __device__ __forceinline__ void operator()(int k, uint32_t (&a)[4]) const { queries.load(k, a); }
};

template <class T, int kChannels>
using Queries = std::conditional_t<(kChannels > 128), SharedQueries, KeptQueries<T, kChannels>>;

// What any of a warp's rows sees, and what all of them see.
struct WarpKeys {
  KeyRange any, all;
};

// Queries that become registers pass through the place of the values. What is the same for all threads is
// here to spare registers.
template <class T, int kChannels>
struct alignas(16) PrefillShared {
  static constexpr bool kKept = Queries<T, kChannels>::kKept;
  T keys[kKeyTile * row_stride<T>(kChannels)];
  T values[kKeyTile * row_stride<T>(kChannels)];
  T queries[kKept ? 8 : kPrefillRows<kChannels> * row_stride<T>(kChannels)];
  QueryRows rows;
  KeyRange seen;  // by any row
  WarpKeys warps[kPrefillWarps];

  __device__ __forceinline__ T* query_rows() { return kKept ? values : queries; }
};

template <class T, int kChannels>
struct Prefill {
  static constexpr int kSlices = kChannelSlices<kChannels>;
  static constexpr int kPieces = kChannels / 8 / kSlices;  // of 8 channels, a warp's share
  struct Sums {
    float y[kPieces][4] = {};
    RowSum rows[2];
  };

  const Arguments<T>& a;
  PrefillShared<T, kChannels>& shared;
  const QueryRows& rows = shared.rows;
  const KeyRange& keys = shared.seen;
  const int first_row = static_cast<int>(threadIdx.x / 32) / kSlices * 16;  // the warp's
  const int first_channel = static_cast<int>(threadIdx.x / 32) % kSlices * kPieces * 8;

  __device__ __forceinline__ void copy(TilePart part, T* to, const TileBlocks& blocks, int start) const {
    copy_tile<kPrefillThreads, kChannels>(to, part, a, rows, blocks, keys, start);
    ptx::commit_copies();
  }

  // Weights of the tile's scores, and the weighted values.
  __device__ __forceinline__ void add_tile(ScoreTile& s, bool covered, int start, Sums& sums) const {
    const int row = first_row + static_cast<int>(threadIdx.x % 32) / 4;
    const auto rule_of = [&](int i) { return row_rule(a, rows, row + 8 * i); };
    float maxima[2], factors[2], weights[2];
    const float factor = form_scores(s, a.rule, rule_of, a.slopes != nullptr, covered, start);
    find_maxima(s, factor, maxima);
#pragma unroll
    for (int i = 0; i < 2; i++) {
      maxima[i] = fmaxf(sums.rows[i].maximum, maxima[i]);
      factors[i] = rescale_of<T>(sums.rows[i].maximum, maxima[i]);
    }
    form_weights<T>(s, factor, maxima, weights);
#pragma unroll
    for (int i = 0; i < 2; i++) sums.rows[i] = {maxima[i], fmaf(sums.rows[i].weight, factors[i], weights[i])};
    WeightTile p;
    pack_weights<T>(s, p);
    rescale(sums.y, factors);
    multiply_values<T, kChannels>(sums.y, p, ptx::shared_address(shared.values + first_channel));
  }

  __device__ __forceinline__ void add_split(Sums& total, Sums& split) const {
    MergeFactors factors[2];
#pragma unroll
    for (int i = 0; i < 2; i++) {
      split.rows[i].weight = add_lanes(split.rows[i].weight);
      factors[i] = merge<T>(total.rows[i], split.rows[i]);
    }
#pragma unroll
    for (int j = 0; j < kPieces; j++) {
#pragma unroll
      for (int c = 0; c < 4; c++) total.y[j][c] = merged(total.y[j][c], split.y[j][c], factors[c / 2]);
    }
    split = Sums{};
  }

  // All tiles; the copy of the first keys, which lie in `blocks`, is under way.
  template <class Q>
  __device__ __forceinline__ void attend(const Q& queries, TileBlocks blocks, Sums& total) const {
    const WarpKeys& warp = shared.warps[threadIdx.x / 32];
    Sums split;
    for (int start = keys.first / kKeyTile * kKeyTile; start < keys.last; start += kKeyTile) {
      const int next = start + kKeyTile;
      const bool seen = warp.any.meets(start, kKeyTile);
      ptx::wait_for_copies<0>();
      __syncthreads();  // the keys are there, the values before are done with
      copy(TilePart::kValues, shared.values, blocks, start);
      blocks = find_blocks(a, rows, keys, next);
      ScoreTile s;
      if (seen) multiply_keys<T, kChannels>(s, queries, ptx::shared_address(shared.keys));
      ptx::wait_for_copies<0>();
      __syncthreads();  // the values are there, the keys done with
      if (next < keys.last) copy(TilePart::kKeys, shared.keys, blocks, next);
      if (seen) add_tile(s, warp.all.covers(start, kKeyTile), start, split);
      if (next % kSplit == 0 || next >= keys.last) add_split(total, split);
    }
  }
};

// What threads share, for all of them after the next barrier.
template <class T, int kChannels>
__device__ __forceinline__ void share_rows(const Arguments<T>& a, const QueryRows& rows,
                                           PrefillShared<T, kChannels>& shared) {
  const int warp = static_cast<int>(threadIdx.x) / 32, last_row = rows.count - 1;
  const int first = warp / kChannelSlices<kChannels> * 16, last = smaller(first + 15, last_row);
  if (threadIdx.x == 0) {
    shared.rows = rows;
    shared.seen = visible_keys(a, rows, 0, last_row);
  }
  if (threadIdx.x % 32 == 0)
    shared.warps[warp] =
        first > last_row ? WarpKeys{}
                         : WarpKeys{visible_keys(a, rows, first, last),
                                    {visible_keys(a, rows, last).first, visible_keys(a, rows, first).last}};
}

// `all`: also of the sequences that decoding would take.
template <class T, int kChannels>
__global__ void __launch_bounds__(kPrefillThreads)
    attention_prefill(const __grid_constant__ Arguments<T> a, bool all) {
  ptx::let_successor_start();
  const int piece = static_cast<int>(gridDim.x - 1 - blockIdx.x);
  QueryRows rows = find_rows<kPrefillRows<kChannels>>(a, piece, static_cast<int>(blockIdx.y));
  if (!all && is_decode(rows.tokens, a.group)) rows.count = 0;
  ptx::wait_for_predecessor();
  if (rows.count == 0) return;

  auto& shared = *dynamic_shared<PrefillShared<T, kChannels>>();
  const Prefill<T, kChannels> prefill{a, shared};
  share_rows(a, rows, shared);
  __syncthreads();
  const int start = shared.seen.first / kKeyTile * kKeyTile;
  const TileBlocks blocks = find_blocks(a, rows, shared.seen, start);
  prefill.copy(TilePart::kKeys, shared.keys, blocks, start);
  constexpr int kStride = row_stride<T>(kChannels);
  load_queries(a, rows, shared.query_rows(), kPrefillRows<kChannels>, kStride, kChannels);
  __syncthreads();
  const Queries<T, kChannels> queries(
      LeftOperand::of(shared.query_rows() + prefill.first_row * kStride, kStride));
  typename Prefill<T, kChannels>::Sums total;
  prefill.attend(queries, blocks, total);
  store_rows(a, shared.rows, prefill.first_row, prefill.first_channel, total.y, total.rows);
}

}  // namespace kvasir::cuda::attend
