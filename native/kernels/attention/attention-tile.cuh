#pragma once

// Keys or values of a tile in shared memory, and the two products a warp forms with them: scores = q k and
// sums += p v, 16 rows by mma.
//
// A position is a row of kChannels numbers and 16 bytes more, so that the 8 rows that ldmatrix reads at once
// begin in different banks. Channels beyond the cache's are zeros: they add nothing, whatever the number of
// channels a kernel was made for.

#include "kernels/attention/attention-rows.cuh"

namespace kvasir::cuda::attend {

template <class T>
constexpr int kPieceElements = 16 / static_cast<int>(sizeof(T));

// Elements from a row of shared memory to the next.
template <class T>
__host__ __device__ constexpr int row_stride(int channels) {
  return channels + kPieceElements<T>;
}

// Keys or values of a head in a block of the cache, (32,DP): numbers of T, or bytes and the positions' scales.
template <class T>
struct CachePart {
  const T* numbers;
  const int8_t* bytes;  // null where there are numbers
  const float* scales;
};

// One piece of a position to shared memory, zeros where there is none. Numbers are there when copies are waited for;
// those of bytes, each rounded once to T, at once.
template <class T>
__device__ __forceinline__ void copy_piece(T* to, const CachePart<T>& from, int position, int DP, int channel,
                                           bool exists) {
  if (from.bytes == nullptr)
    return ptx::copy_async(ptx::shared_address(to), from.numbers + position * DP + channel, exists);
  constexpr int kPiece = kPieceElements<T>;
  float x[kPiece] = {};
  if (exists) {
    const float scale = from.scales[position];
    const int8_t* bytes = from.bytes + position * DP + channel;
    uint32_t words[kPiece / 4];
#pragma unroll
    for (int i = 0; i < kPiece / 4; i++) words[i] = reinterpret_cast<const uint32_t*>(bytes)[i];
#pragma unroll
    for (int i = 0; i < kPiece; i++)
      x[i] = product(scale, static_cast<float>(static_cast<int8_t>(words[i / 4] >> (i % 4 * 8) & 0xffu)));
  }
  if constexpr (sizeof(T) == 2) {
    store_whole(to, x);
  } else {
    *reinterpret_cast<float4*>(to) = make_float4(x[0], x[1], x[2], x[3]);
  }
}

// One block of keys or values, its first position `start`, to shared memory, by kThreads threads, kRowThreads of them
// side by side in a row: zeros at positions out of `keys`, which are not read, and in channels from DP to `channels`.
// Positions of `others` are left as they are.
template <int kThreads, int kRowThreads, class T>
__device__ __forceinline__ void copy_block(T* to, int channels, const CachePart<T>& from, int DP,
                                           KeyRange keys, KeyRange others, int start, int thread) {
  constexpr int kPiece = kPieceElements<T>;
  const int first_channel = thread % kRowThreads * kPiece;
#pragma unroll 4
  for (int key = thread / kRowThreads; key < kBlockKeys; key += kThreads / kRowThreads) {
    if (others.has(start + key)) continue;
    const bool seen = keys.has(start + key);
    T* row = to + key * row_stride<T>(channels);
#pragma unroll
    for (int channel = first_channel; channel < channels; channel += kRowThreads * kPiece)
      copy_piece(row + channel, from, key, DP, channel, seen && channel < DP);
  }
}

// The blocks of the cache that hold a tile's keys. What nobody sees is not looked up, and counts as block 0.
constexpr int kTileBlocks = kKeyTile / kBlockKeys;

struct TileBlocks {
  int32_t blocks[kTileBlocks];
};

template <class T>
__device__ __forceinline__ TileBlocks find_blocks(const Arguments<T>& a, const QueryRows& rows, KeyRange keys,
                                                  int start) {
  TileBlocks tile;
#pragma unroll
  for (int b = 0; b < kTileBlocks; b++) {
    const int position = start + b * kBlockKeys;
    const bool needed = keys.meets(position, kBlockKeys);
    tile.blocks[b] = needed ? a.block_tables[rows.sequence * a.W + position / kBlockKeys] : 0;
  }
  return tile;
}

enum class TilePart { kKeys, kValues };

template <class T>
__device__ __forceinline__ CachePart<T> cache_part(const Arguments<T>& a, TilePart part, int32_t block,
                                                   int head) {
  const std::byte* keys = a.cache + (static_cast<int64_t>(block) * a.KH + head) * a.head_bytes;
  const bool is_key = part == TilePart::kKeys;
  const std::byte* from = is_key ? keys : keys + a.values_at;
  if (!a.bytes) return {reinterpret_cast<const T*>(from), nullptr, nullptr};
  return {nullptr, reinterpret_cast<const int8_t*>(from),
          reinterpret_cast<const float*>(keys + a.scales_at) + (is_key ? 0 : kBlockKeys)};
}

// Threads side by side in a row of a tile.
template <class T, int kChannels>
constexpr int kTileRowThreads = kChannels / kPieceElements<T> % 8 == 0 ? 8 : 4;

// By kThreads threads. Positions of `others`, of those that are seen, are left as they are.
template <int kThreads, int kChannels, class T>
__device__ __forceinline__ void copy_tile(T* to, TilePart part, const Arguments<T>& a, const QueryRows& rows,
                                          const TileBlocks& tile, KeyRange keys, int start,
                                          KeyRange others = {0, 0}) {
  constexpr int kPieces = kChannels / kPieceElements<T>, kRowThreads = kTileRowThreads<T, kChannels>;
  constexpr int kBlockElements = kBlockKeys * row_stride<T>(kChannels);
  static_assert(kPieces % kRowThreads == 0);
#pragma unroll
  for (int b = 0; b < kTileBlocks; b++)
    copy_block<kThreads, kRowThreads>(to + b * kBlockElements, kChannels,
                                      cache_part(a, part, tile.blocks[b], rows.head), a.DP, keys, others,
                                      start + b * kBlockKeys, static_cast<int>(threadIdx.x) % kThreads);
}

// The positions of a tile that are in `keys`, as copy_tile; made for few of them.
template <int kThreads, int kChannels, class T>
__device__ __forceinline__ void copy_positions(T* to, TilePart part, const Arguments<T>& a,
                                               const QueryRows& rows, const TileBlocks& tile, KeyRange keys,
                                               int start) {
  constexpr int kPiece = kPieceElements<T>, kRowThreads = kTileRowThreads<T, kChannels>;
  const int thread = static_cast<int>(threadIdx.x) % kThreads;
  const int last = smaller(keys.last, start + kKeyTile);
#pragma unroll 1
  for (int key = larger(keys.first, start) + thread / kRowThreads; key < last;
       key += kThreads / kRowThreads) {
    const int in_tile = key - start;
    const int32_t block = in_tile < kBlockKeys ? tile.blocks[0] : tile.blocks[1];
    static_assert(kTileBlocks == 2);
    const CachePart<T> from = cache_part(a, part, block, rows.head);
    T* row = to + in_tile * row_stride<T>(kChannels);
#pragma unroll
    for (int channel = thread % kRowThreads * kPiece; channel < kChannels; channel += kRowThreads * kPiece)
      copy_piece(row + channel, from, in_tile % kBlockKeys, a.DP, channel, channel < a.DP);
  }
}

// 16 rows of a matrix of 16-bit numbers in shared memory as left operands of mma.
struct LeftOperand {
  uint32_t address;  // of what this lane loads for columns 0 to 15

  template <class T>
  static __device__ __forceinline__ LeftOperand of(const T* rows, int stride) {
    const int lane = static_cast<int>(threadIdx.x % 32);
    return {ptx::shared_address(rows + lane % 16 * stride + lane / 16 * 8)};
  }
  // Columns 16 k to 16 k + 15.
  __device__ __forceinline__ void load(int k, uint32_t (&a)[4]) const {
    ptx::ldmatrix_x4(a, address + static_cast<uint32_t>(k) * 32);
  }
};

// s = q k of 16 queries and a tile of keys. `load(k, a)` gives channels 16 k to 16 k + 15 of the queries.
template <class T, int kChannels, class Load>
__device__ __forceinline__ void multiply_keys(ScoreTile& s, const Load& load, uint32_t keys) {
  constexpr uint32_t kRowBytes = row_stride<T>(kChannels) * sizeof(T);
  const uint32_t lane = threadIdx.x % 32;
  keys += (lane / 16 * 8 + lane % 8) * kRowBytes + lane / 8 % 2 * 16;
#pragma unroll
  for (int i = 0; i < kKeyTile / 8; i++) s[i][0] = s[i][1] = s[i][2] = s[i][3] = 0.0f;
#pragma unroll
  for (int k = 0; k < kChannels / 16; k++) {
    uint32_t a[4];
    load(k, a);
#pragma unroll
    for (int i = 0; i < kKeyTile / 8; i += 2) {
      uint32_t b[4];
      ptx::ldmatrix_x4(b, keys + static_cast<uint32_t>(i) * 8 * kRowBytes + static_cast<uint32_t>(k) * 32);
      ptx::mma<T>(s[i], a, {b[0], b[1]});
      ptx::mma<T>(s[i + 1], a, {b[2], b[3]});
    }
  }
}

// sums += p v of 16 rows, a tile of values and 8 kPieces channels, the first of which is at address `values`.
template <class T, int kChannels, int kPieces>
__device__ __forceinline__ void multiply_values(float (&sums)[kPieces][4], const WeightTile& p,
                                                uint32_t values) {
  constexpr uint32_t kRowBytes = row_stride<T>(kChannels) * sizeof(T);
  const uint32_t lane = threadIdx.x % 32;
  values += lane % 16 * kRowBytes + lane / 16 * 16;
#pragma unroll
  for (int k = 0; k < kKeyTile / 16; k++) {
#pragma unroll
    for (int i = 0; i + 1 < kPieces; i += 2) {
      uint32_t b[4];
      ptx::ldmatrix_x4_trans(
          b, values + static_cast<uint32_t>(k) * 16 * kRowBytes + static_cast<uint32_t>(i) * 16);
      ptx::mma<T>(sums[i], p[k], {b[0], b[1]});
      ptx::mma<T>(sums[i + 1], p[k], {b[2], b[3]});
    }
    if constexpr (kPieces % 2 == 1) {
      uint32_t b[2];
      ptx::ldmatrix_x2_trans(b, values + static_cast<uint32_t>(k) * 16 * kRowBytes + (kPieces - 1) * 16);
      ptx::mma<T>(sums[kPieces - 1], p[k], b);
    }
  }
}

// Row 0 or 1 of the lane's two becomes so many times as large. All lanes of the warp; mostly, none of its rows has a
// new maximum.
template <int kPieces>
__device__ __forceinline__ void rescale(float (&sums)[kPieces][4], const float (&factors)[2]) {
  if (__all_sync(kAllLanes, factors[0] == 1.0f && factors[1] == 1.0f) != 0) return;
#pragma unroll
  for (int i = 0; i < kPieces; i++) {
#pragma unroll
    for (int c = 0; c < 4; c++) sums[i][c] = product(sums[i][c], factors[c / 2]);
  }
}

// Finished rows from `first_row` of the piece on, channels from `first_channel` on; the lane's parts of them.
template <int kPieces, class T>
__device__ __forceinline__ void store_rows(const Arguments<T>& a, const QueryRows& rows, int first_row,
                                           int first_channel, const float (&y)[kPieces][4],
                                           const RowSum (&sums)[2]) {
  const int lane = static_cast<int>(threadIdx.x % 32);
#pragma unroll
  for (int i = 0; i < 2; i++) {
    const int row = first_row + lane / 4 + 8 * i;
    if (row >= rows.count) continue;
    T* to = a.y + row_offset(a, rows, row, a.y_stride);
    const float inverse = 1.0f / sums[i].weight;
#pragma unroll
    for (int j = 0; j < kPieces; j++)
      store_pair(a, to, first_channel + 8 * j + lane % 4 * 2, normalized(y[j][2 * i], inverse),
                 normalized(y[j][2 * i + 1], inverse));
  }
}

}  // namespace kvasir::cuda::attend
