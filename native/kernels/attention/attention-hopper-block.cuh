#pragma once

// What the warps of attention-hopper.cuh have in common: shared memory, the ring of tiles in it, and the order of tiles.

#include "kernels/attention/attention-tile.cuh"

namespace kvasir::cuda::attend {

constexpr int kHopperThreads = 384;
constexpr int kHopperConsumers = 256;
constexpr int kHopperSharedBytes = 227 << 10;  // what a block may have

// Matrices lie in strips of 64 channels: 64 rows of 128 bytes, 16-byte pieces permuted as the copy engine and wgmma have
// it (128-byte swizzle).
constexpr int kStripChannels = 64;
constexpr int kStripRows = 64;
constexpr int kStripRowBytes = 128;
constexpr int kStripBytes = kStripRows * kStripRowBytes;
static_assert(kStripRows == kKeyTile);

// Warpgroups that share the channels of the same 64 rows.
template <int kChannels>
constexpr int kHopperSlices = kChannels > 128 ? 2 : 1;

template <int kChannels>
constexpr int kHopperRows = 2 * kStripRows / kHopperSlices<kChannels>;

// Tiles of keys, and of values, that shared memory has room for; more than 6 hide nothing.
template <int kChannels>
constexpr int kHopperStages = kChannels > 128 ? 3 : 6;

// Completes when all bytes of a tile have come; when all consuming warps have read it.
template <int kStages>
struct TileBarriers {
  uint64_t full[kStages], empty[kStages];
};

// What the rows of a consuming warpgroup, or of one of its warps, see.
struct HopperKeys {
  KeyRange any[2];  // any row of warpgroup w
  KeyRange all[8];  // every row of warp w
};

template <class T, int kChannels>
struct alignas(1024) HopperShared {
  static constexpr int kStages = kHopperStages<kChannels>;
  T queries[kHopperRows<kChannels> * kChannels];
  T keys[kStages][kKeyTile * kChannels];
  T values[kStages][kKeyTile * kChannels];
  TileBarriers<kStages> key_barriers, value_barriers;
  uint64_t edge;  // completes when all bytes of a tile have come that the producer works on
  QueryRows rows;
  KeyRange seen;  // by any row
  HopperKeys warps;
};

// The tiles that any row of the block sees are numbered from 0, the one of the first key.
template <class T, int kChannels>
struct HopperBlock {
  using Shared = HopperShared<T, kChannels>;
  static constexpr int kStages = Shared::kStages;
  static constexpr int kStrips = kChannels / kStripChannels;
  static_assert(sizeof(T) == 2 && sizeof(Shared) <= kHopperSharedBytes);

  const Arguments<T>& a;
  Shared& shared;

  __device__ __forceinline__ int first_key() const { return shared.seen.first / kKeyTile * kKeyTile; }
  __device__ __forceinline__ int start_of(int tile) const { return first_key() + tile * kKeyTile; }
  // The number of the tile that has the key, or would have it.
  __device__ __forceinline__ int tile_of(int key) const { return (key - first_key()) / kKeyTile; }
  __device__ __forceinline__ int tiles() const { return tile_of(shared.seen.last + kKeyTile - 1); }

  static __device__ __forceinline__ int stage_of(int tile) { return tile % kStages; }
  static __device__ __forceinline__ uint32_t parity_of(int tile) { return tile / kStages % 2; }

  __device__ __forceinline__ T* place(TilePart part, int tile) const {
    return (part == TilePart::kKeys ? shared.keys : shared.values)[stage_of(tile)];
  }
  __device__ __forceinline__ TileBarriers<kStages>& barriers(TilePart part) const {
    return part == TilePart::kKeys ? shared.key_barriers : shared.value_barriers;
  }
  __device__ __forceinline__ uint32_t full(TilePart part, int tile) const {
    return ptx::shared_address(&barriers(part).full[stage_of(tile)]);
  }
  __device__ __forceinline__ uint32_t empty(TilePart part, int tile) const {
    return ptx::shared_address(&barriers(part).empty[stage_of(tile)]);
  }

  // By one thread.
  __device__ void initialize() const {
    for (int stage = 0; stage < kStages; stage++) {
      for (const TilePart part : {TilePart::kKeys, TilePart::kValues}) {
        ptx::mbarrier_init(full(part, stage), 1);
        ptx::mbarrier_init(empty(part, stage), kHopperConsumers / 32);
      }
    }
    ptx::mbarrier_init(ptx::shared_address(&shared.edge), 1);
    ptx::fence_mbarrier_init();
  }
};

// One warp. Fills places of the ring as they become free, tile after tile.
//
// Values that no row of the block sees must not come near the sums, not even times zero: what lies there may be another
// sequence's NaN. So the tiles at the edges of what is seen come to the warp first, which puts zeros over the rest. Keys
// may be anything: their scores are masked.
template <class T, int kChannels>
struct HopperProducer : HopperBlock<T, kChannels> {
  using Block = HopperBlock<T, kChannels>;
  static constexpr uint32_t kTileBytes = kKeyTile * kChannels * sizeof(T);

  __device__ __forceinline__ static int lane() { return static_cast<int>(threadIdx.x % 32); }

  // One thread. The rows of `cache` are all positions of its blocks; a box is 32 of them and 64 channels.
  __device__ __forceinline__ void copy(TilePart part, int tile, const TileBlocks& blocks,
                                       const TensorMap* cache, uint32_t barrier) const {
    const uint32_t to = ptx::shared_address(this->place(part, tile));
    ptx::mbarrier_expect(barrier, kTileBytes);
#pragma unroll
    for (int b = 0; b < kTileBlocks; b++) {
      const int head = blocks.blocks[b] * this->a.KH + this->shared.rows.head;
      const int row = (2 * head + (part == TilePart::kKeys ? 0 : 1)) * kBlockKeys;
#pragma unroll
      for (int strip = 0; strip < Block::kStrips; strip++)
        ptx::copy_tensor(to + strip * kStripBytes + b * (kBlockKeys * kStripRowBytes), cache,
                         strip * kStripChannels, row, barrier);
    }
  }

  // Zeros where no row sees the position.
  __device__ __forceinline__ void clear_unseen(int tile) const {
    auto* rows = reinterpret_cast<uint4*>(this->place(TilePart::kValues, tile));
    constexpr int kRowPieces = kStripRowBytes / 16;
    for (int key = lane() / kRowPieces; key < kKeyTile; key += 32 / kRowPieces) {
      if (this->shared.seen.has(this->start_of(tile) + key)) continue;
#pragma unroll
      for (int strip = 0; strip < Block::kStrips; strip++)
        rows[(strip * kStripRows + key) * kRowPieces + lane() % kRowPieces] = make_uint4(0, 0, 0, 0);
    }
    ptx::fence_async_proxy();
    __syncwarp();
  }

  // Returns when the tile's place is free. All lanes know it then: one that came later could miss the barrier's phase.
  __device__ __forceinline__ void wait_for_place(TilePart part, int tile) const {
    ptx::mbarrier_wait(this->empty(part, tile), this->parity_of(tile) ^ 1);
    __syncwarp();
  }

  __device__ __forceinline__ void bring_keys(int tile, const TileBlocks& blocks,
                                             const TensorMap* cache) const {
    wait_for_place(TilePart::kKeys, tile);
    if (lane() == 0) copy(TilePart::kKeys, tile, blocks, cache, this->full(TilePart::kKeys, tile));
  }

  // `edges`: how many of the tiles before were at an edge.
  __device__ __forceinline__ void bring_values(int tile, const TileBlocks& blocks, const TensorMap* cache,
                                               uint32_t& edges) const {
    const bool at_edge = !this->shared.seen.covers(this->start_of(tile), kKeyTile);
    const uint32_t full = this->full(TilePart::kValues, tile);
    const uint32_t barrier = at_edge ? ptx::shared_address(&this->shared.edge) : full;
    wait_for_place(TilePart::kValues, tile);
    if (lane() == 0) copy(TilePart::kValues, tile, blocks, cache, barrier);
    if (!at_edge) return;
    ptx::mbarrier_wait(barrier, edges++ % 2);
    clear_unseen(tile);
    if (lane() == 0) ptx::mbarrier_arrive(full);
  }

  __device__ void run(const TensorMap* cache) const {
    const int tiles = this->tiles();
    const auto blocks_of = [&](int tile) {
      return find_blocks(this->a, this->shared.rows, this->shared.seen, this->start_of(tile));
    };
    TileBlocks blocks = blocks_of(0);
    uint32_t edges = 0;
#pragma unroll 1
    for (int tile = 0; tile < tiles; tile++) {
      const TileBlocks next = blocks_of(tile + 1);
      bring_keys(tile, blocks, cache);
      bring_values(tile, blocks, cache, edges);
      blocks = next;
    }
  }
};

}  // namespace kvasir::cuda::attend
