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
  HopperKeys visible;
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

}  // namespace kvasir::cuda::attend
