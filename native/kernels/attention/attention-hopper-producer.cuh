#pragma once

// The warp of attention-hopper.cuh that brings keys and values: at most 24 registers.

#include "kernels/attention/attention-hopper-block.cuh"

namespace kvasir::cuda::attend {

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
