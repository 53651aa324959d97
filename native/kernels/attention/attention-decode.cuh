#pragma once

// Attention of sequences with a single token or few rows: bound by reading their keys and values.
//
// Grid (blocks for splits, key/value heads x pieces of 16 rows, sequences), blocks of 4 warps. A block takes
// splits x, x + gridDim.x ... of those in which its rows have keys. In a split warp w forms the scores of
// tile w, all 16 rows (those of a group's heads share each load of keys), and their weights once it knows the
// largest scores of the tiles before; then it sums up its quarter of the channels over all tiles.
//
// Shared memory: weights of 16 rows, queries, and slots of one tile. Tiles of keys are in slots 0 to 3 and
// tiles of values in those that follow; where these do not suffice, values wait until the keys are done with.
// All slots are filled at once, so that a split waits for memory once, or twice. Registers: scores of a tile,
// sums of a quarter of the channels. The sums of several splits go through memory (attention-merge.cuh).
//
// Bytes moved: keys and values once for every 16 rows; DP + 2 f32 for every row and split, twice.

#include "kernels/attention/attention-merge.cuh"
#include "kernels/attention/attention-tile.cuh"

namespace kvasir::cuda::attend {

constexpr int kDecodeWarps = kSplitTiles;
constexpr int kDecodeThreads = 32 * kDecodeWarps;
constexpr int kMinSlots = kSplitTiles;      // where values wait for keys
constexpr int kMaxSlots = 2 * kSplitTiles;  // where nothing waits
constexpr int kWeightStride = kSplit + 8;   // so that rows begin in different banks

template <class T, int kChannels>
struct alignas(16) DecodeShared {
  float maxima[kSplitTiles][kDecodeRows];
  float sums[kSplitTiles][kDecodeRows][4];  // of weights, by lane
  T weights[kDecodeRows * kWeightStride];
  T queries[kDecodeRows * row_stride<T>(kChannels)];
  // Slots follow.
};

template <class T, int kChannels>
constexpr int64_t kSlotBytes = kKeyTile * row_stride<T>(kChannels) * static_cast<int64_t>(sizeof(T));

template <class T, int kChannels>
struct Decode {
  static constexpr int kPieces = kChannels / 8 / kDecodeWarps;  // of 8 channels, a warp's share
  using Sums = float[kPieces][4];

  const Arguments<T>& a;
  const QueryRows rows;
  const KeyRange keys;
  DecodeShared<T, kChannels>& shared;
  const int slots;
  const int warp = static_cast<int>(threadIdx.x / 32), lane = static_cast<int>(threadIdx.x % 32);

  __device__ __forceinline__ T* slot(int i) const {
    return reinterpret_cast<T*>(reinterpret_cast<char*>(&shared + 1) + i * kSlotBytes<T, kChannels>);
  }
  // Of the values of tile t.
  __device__ __forceinline__ int value_slot(int t) const {
    const int i = kSplitTiles + t;
    return i < slots ? i : i - slots;
  }
  __device__ __forceinline__ bool sees(int tile_start) const { return keys.meets(tile_start, kKeyTile); }
  __device__ __forceinline__ TileBlocks blocks_of(int split) const {
    return find_blocks(a, rows, keys, split * kSplit + warp * kKeyTile);
  }

  __device__ __forceinline__ void copy(TilePart part, int to, const TileBlocks& blocks, int start,
                                       KeyRange others = {0, 0}) const {
    if (sees(start)) copy_tile<32, kChannels>(slot(to), part, a, rows, blocks, keys, start, others);
  }
  __device__ __forceinline__ bool has_room_for_values() const { return kSplitTiles + warp < slots; }
  // The warp's tile of keys, and its tile of values where there is room.
  __device__ __forceinline__ void copy_first(const TileBlocks& blocks, int start) const {
    copy(TilePart::kKeys, warp, blocks, start);
    ptx::commit_copies();
    if (has_room_for_values()) copy(TilePart::kValues, value_slot(warp), blocks, start);
    ptx::commit_copies();
  }

  // The same in two parts: what earlier steps left in the cache, which may be read before the kernel's
  // predecessor has ended, and what this step appended.
  __device__ __forceinline__ KeyRange appended() const { return {rows.context - rows.tokens, rows.context}; }
  __device__ __forceinline__ void copy_earlier(const TileBlocks& blocks, int start) const {
    copy(TilePart::kKeys, warp, blocks, start, appended());
    if (has_room_for_values()) copy(TilePart::kValues, value_slot(warp), blocks, start, appended());
  }
  __device__ __forceinline__ void copy_appended(const TileBlocks& blocks, int start) const {
    const KeyRange positions{larger(keys.first, appended().first), smaller(keys.last, appended().last)};
    copy_positions<32, kChannels>(slot(warp), TilePart::kKeys, a, rows, blocks, positions, start);
    ptx::commit_copies();
    if (has_room_for_values())
      copy_positions<32, kChannels>(slot(value_slot(warp)), TilePart::kValues, a, rows, blocks, positions,
                                    start);
    ptx::commit_copies();
  }
  __device__ __forceinline__ void copy_rest(const TileBlocks& blocks, int start) const {
    if (!has_room_for_values()) copy(TilePart::kValues, value_slot(warp), blocks, start);
    ptx::commit_copies();
  }

  // Scores of the warp's tile, but for the factor that is returned, and their maxima for all warps.
  __device__ __forceinline__ float score_tile(ScoreTile& s, int start) const {
    float maxima[2] = {kNoScore, kNoScore}, factor = 1.0f;
    if (sees(start)) {
      const LeftOperand queries = LeftOperand::of(shared.queries, row_stride<T>(kChannels));
      const auto load = [&](int k, uint32_t(&q)[4]) { queries.load(k, q); };
      multiply_keys<T, kChannels>(s, load, ptx::shared_address(slot(warp)));
      const auto rule_of = [&](int i) { return row_rule(a, rows, lane / 4 + 8 * i); };
      const bool covered = visible_keys(a, rows, 0).covers(start, kKeyTile) &&
                           visible_keys(a, rows, rows.count - 1).covers(start, kKeyTile);
      factor = form_scores(s, a.rule, rule_of, a.slopes != nullptr, covered, start);
      find_maxima(s, factor, maxima);
    }
    if (lane % 4 == 0) {
#pragma unroll
      for (int i = 0; i < 2; i++) shared.maxima[warp][lane / 4 + 8 * i] = maxima[i];
    }
    return factor;
  }

  // Weights of the warp's tile relative to the largest score up to it, and their sums by lane.
  __device__ __forceinline__ void weigh_tile(ScoreTile& s, float factor) const {
    float maxima[2] = {kNoScore, kNoScore}, sums[2];
#pragma unroll
    for (int t = 0; t < kSplitTiles; t++) {
#pragma unroll
      for (int i = 0; i < 2; i++)
        if (t <= warp) maxima[i] = fmaxf(maxima[i], shared.maxima[t][lane / 4 + 8 * i]);
    }
    form_weights<T>(s, factor, maxima, sums);
#pragma unroll
    for (int i = 0; i < 2; i++) {
      const int row = lane / 4 + 8 * i;
      shared.sums[warp][row][lane % 4] = sums[i];
      T* weights = shared.weights + row * kWeightStride + warp * kKeyTile + lane % 4 * 2;
#pragma unroll
      for (int j = 0; j < kKeyTile / 8; j++)
        *reinterpret_cast<uint32_t*>(weights + 8 * j) = pack2<T>(s[j][2 * i], s[j][2 * i + 1]);
    }
  }

  // The warp's channels of the tile's values are added, after the sums so far are made relative to the new
  // maxima.
  __device__ __forceinline__ void add_tile(int t, Sums& y, RowSum (&sums)[2]) const {
    float factors[2];
#pragma unroll
    for (int i = 0; i < 2; i++) {
      const int row = lane / 4 + 8 * i;
      const float maximum = fmaxf(sums[i].maximum, shared.maxima[t][row]);
      factors[i] = rescale_of<T>(sums[i].maximum, maximum);
      sums[i] = {maximum, fmaf(sums[i].weight, factors[i], shared.sums[t][row][lane % 4])};
    }
    rescale(y, factors);
    const LeftOperand weights = LeftOperand::of(shared.weights + t * kKeyTile, kWeightStride);
    WeightTile p;
#pragma unroll
    for (int k = 0; k < kKeyTile / 16; k++) weights.load(k, p[k]);
    multiply_values<T, kChannels>(y, p, ptx::shared_address(slot(value_slot(t)) + first_channel()));
  }

  // One split, whose first copies are under way.
  __device__ __forceinline__ void attend(int split, const TileBlocks& blocks, Sums& y,
                                         RowSum (&sums)[2]) const {
    const int first = split * kSplit, start = first + warp * kKeyTile;
    ScoreTile s;
    ptx::wait_for_copies<1>();
    __syncthreads();  // also the queries are there
    const float factor = score_tile(s, start);
    __syncthreads();
    copy_rest(blocks, start);
    if (sees(start)) weigh_tile(s, factor);
    ptx::wait_for_copies<0>();
    __syncthreads();
    for (int t = 0; t < kSplitTiles; t++)
      if (sees(first + t * kKeyTile)) add_tile(t, y, sums);
#pragma unroll
    for (int i = 0; i < 2; i++) sums[i].weight = add_lanes(sums[i].weight);
  }

  __device__ __forceinline__ int first_channel() const { return warp * kPieces * 8; }

  // As the i-th of the rows' splits.
  __device__ __forceinline__ void store_partial(int split, const Sums& y, const RowSum (&sums)[2]) const {
#pragma unroll
    for (int i = 0; i < 2; i++) {
      const int row = lane / 4 + 8 * i;
      if (row >= rows.count) continue;
      const int64_t index = partial_index(a, rows, row, split);
      if (threadIdx.x % 4 == 0 && warp == 0) a.partials.sums[index] = sums[i];
#pragma unroll
      for (int j = 0; j < kPieces; j++) {
        const int channel = first_channel() + 8 * j + lane % 4 * 2;
        if (channel < a.DP)
          *reinterpret_cast<float2*>(a.partials.y + index * a.DP + channel) =
              make_float2(y[j][2 * i], y[j][2 * i + 1]);
      }
    }
  }
};

// The rows of this block's piece; none where the sequence is not for decoding.
template <class T>
__device__ __forceinline__ QueryRows decode_rows(const Arguments<T>& a, int sequence) {
  const int head = static_cast<int>(blockIdx.y) % a.KH, piece = static_cast<int>(blockIdx.y) / a.KH;
  QueryRows rows = rows_of(a, sequence, head, piece * kDecodeRows, kDecodeRows);
  if (!is_decode(rows.tokens, a.group)) rows.count = 0;
  return rows;
}

// Of the launch's sequences, the first of which is `first_sequence`.
template <class T>
__device__ __forceinline__ uint32_t* decode_counter(const Arguments<T>& a) {
  return a.partials.counters + blockIdx.z * gridDim.y + blockIdx.y;
}

template <class T, int kChannels>
__global__ void __launch_bounds__(kDecodeThreads, 2)
    attention_decode(const __grid_constant__ Arguments<T> a, int first_sequence, int slots) {
  ptx::let_successor_start();
  const QueryRows rows = decode_rows(a, first_sequence + static_cast<int>(blockIdx.z));
  const KeyRange keys = rows.count == 0 ? KeyRange{0, 0} : visible_keys(a, rows, 0, rows.count - 1);
  const SplitRange splits = splits_of(keys);
  auto& shared = *dynamic_shared<DecodeShared<T, kChannels>>();
  const Decode<T, kChannels> decode{a, rows, keys, shared, slots};
  int i = static_cast<int>(blockIdx.x);
  TileBlocks blocks = decode.blocks_of(splits.first + i);
  const int warp_start = decode.warp * kKeyTile;
  if (i < splits.count) decode.copy_earlier(blocks, (splits.first + i) * kSplit + warp_start);
  ptx::wait_for_predecessor();
  if (i >= splits.count) return;

  for (bool first = true; i < splits.count; i += static_cast<int>(gridDim.x), first = false) {
    const int split = splits.first + i, start = split * kSplit + warp_start;
    if (first) {
      load_queries(a, rows, shared.queries, kDecodeRows, row_stride<T>(kChannels), kChannels);
      decode.copy_appended(blocks, start);
    } else {
      __syncthreads();  // the slots are done with
      blocks = decode.blocks_of(split);
      decode.copy_first(blocks, start);
    }
    typename Decode<T, kChannels>::Sums y = {};
    RowSum sums[2];
    decode.attend(split, blocks, y, sums);
    if (splits.count == 1) return store_rows(a, rows, 0, decode.first_channel(), y, sums);
    decode.store_partial(i, y, sums);
  }
  if (is_last(decode_counter(a), splits.blocks())) merge_splits(a, rows, splits.count);
}

}  // namespace kvasir::cuda::attend
