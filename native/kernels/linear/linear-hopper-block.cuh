#pragma once

// What the warps of linear-hopper.cuh have in common: shared memory, barriers, and the order of tiles.

#include "kernels/linear/linear-epilogue.cuh"
#include "kernels/linear/linear-many-rows.cuh"

namespace kvasir::cuda {

constexpr int kHopperThreads = 384;
constexpr int kHopperMovers = 96;
constexpr int kHopperRows = 128;               // stored rows of a tile, 64 for each multiplying warpgroup
constexpr int kHopperColumns = 64;             // of a stage: a tile's width in 16-bit numbers
constexpr int kHopperSharedBytes = 227 << 10;  // what a block may have

// Barriers of the movers and multiplying warpgroup w: kPlaceReady + w, kPlaceWritten + w, kDecided + w. Of a
// multiplying warpgroup alone: kSumsLeft + w.
constexpr int kPlaceReady = 1, kPlaceWritten = 3, kMoversMeet = 5, kDecided = 6, kSumsLeft = 8;
constexpr int kPlaceThreads = kHopperMovers + 128;

// Tiles with more tokens are never shared among blocks: there are enough of them, and no registers to spare.
constexpr int kHopperMaxSharedTokens = 128;

// A tile of y is computed by `splits` blocks, each with `split_runs` of the runs of columns (linear_runs), or what is
// left of them. The first one leaves its total in `sums`, the others the sums of each run; the last to arrive adds them.
struct HopperProblem {
  const std::byte* weight;
  int row_tiles, k_blocks, run_blocks;
  int tiles;
  int splits, split_runs, runs;
  float4* sums;                      // (tiles,parts,2,kTokens/8,128): by warpgroup and thread
  uint32_t* arrived;                 // (tiles,2)
  bool residual_aligned, y_aligned;  // all rows begin at multiples of 16 bytes
  TileOrder order;
  LinearOutput out;
};

// Shared memory: the stages of the ring, each two tiles of the weight and kTokens rows of x; a place of kTokens rows
// of 64 outputs for each warpgroup, 16-byte pieces permuted as in tiles; the barriers of the stages. T is the type of
// x and the weight, Y that of y and the residual.
template <class T, class Y, int kTokens>
struct HopperTile {
  static constexpr int kWeightBytes = kHopperRows * kTileRowBytes;
  static constexpr int kStageBytes = kWeightBytes + kTokens * kTileRowBytes;
  static constexpr int kPlaceRowBytes = kTileRows * sizeof(Y);
  static constexpr int kPlaceBytes = kTokens * kPlaceRowBytes;
  static constexpr int kStages = (kHopperSharedBytes - 2 * kPlaceBytes - 16) / (kStageBytes + 16);
  static constexpr int kPlaces = kStages * kStageBytes;
  static constexpr int kBarriers = kPlaces + 2 * kPlaceBytes;
  static constexpr int kFlags = kBarriers + kStages * 16;
  static constexpr int kSharedBytes = kFlags + 16;
  static constexpr int kPieces = kPlaceRowBytes / 16;  // of a row; gated: half of them are used
  static constexpr int kPieceElements = 16 / sizeof(Y);
  static_assert(kStages >= 4 && kStageBytes % 1024 == 0 && kTokens % 16 == 0);
};

// A stage of the ring, and the parity of the turns.
template <int kStages>
struct RingPosition {
  int stage = 0;
  uint32_t parity = 0;
  __device__ __forceinline__ void advance() {
    if (++stage == kStages) stage = 0, parity ^= 1;
  }
};

template <class T, class Y, int kTokens>
struct HopperBlock {
  using Tile = HopperTile<T, Y, kTokens>;
  using Position = RingPosition<Tile::kStages>;
  const HopperProblem& p;

  __device__ __forceinline__ std::byte* shared() const { return dynamic_shared<std::byte>(); }
  __device__ __forceinline__ uint32_t stage(int stage) const {
    return ptx::shared_address(shared()) + stage * Tile::kStageBytes;
  }
  // Completes when all bytes of a stage have come; when all multiplying warps have read it.
  __device__ __forceinline__ uint32_t full(int stage) const {
    return ptx::shared_address(shared()) + Tile::kBarriers + stage * 8;
  }
  __device__ __forceinline__ uint32_t empty(int stage) const { return full(stage) + Tile::kStages * 8; }
  __device__ __forceinline__ std::byte* place(int warpgroup) const {
    return shared() + Tile::kPlaces + warpgroup * Tile::kPlaceBytes;
  }

  __device__ void initialize() const {
    for (int stage = 0; stage < Tile::kStages; stage++) {
      ptx::mbarrier_init(full(stage), 1);
      ptx::mbarrier_init(empty(stage), 8);  // a thread of each multiplying warp
    }
    ptx::fence_mbarrier_init();
  }

  // Whether the warpgroup has all sums of the tile and finishes it; told to the movers where tiles are shared.
  __device__ __forceinline__ int* finishes(int warpgroup) const {
    return reinterpret_cast<int*>(shared() + Tile::kFlags) + warpgroup;
  }

  // What a block does at a time: its part of a tile.
  struct Item {
    TilePlace tile;
    int number, split;            // of the tile, of the part
    int first_block, last_block;  // of 64 columns; the last one is not its own
  };

  __device__ __forceinline__ Item item(int i) const {
    const int tile = kTokens <= kHopperMaxSharedTokens ? i / p.splits : i, split = i - tile * p.splits;
    const int blocks = p.split_runs * p.run_blocks, first = split * blocks;
    return {place_of_tile(p.order, tile), tile, split, first,
            p.k_blocks - first < blocks ? p.k_blocks : first + blocks};
  }
  __device__ __forceinline__ bool shares_tiles() const {
    return kTokens <= kHopperMaxSharedTokens && p.splits > 1;
  }

  template <class F>
  __device__ __forceinline__ void for_each_item(const F& body) const {
    const int items = p.tiles * p.splits;
    for (int i = static_cast<int>(blockIdx.x); i < items; i += static_cast<int>(gridDim.x)) body(item(i));
  }

  // First stored row of a warpgroup, and its output.
  __device__ __forceinline__ int64_t first_output(TilePlace tile, int warpgroup) const {
    return output_of_row(p.out.gated, (tile.row_block * 2 + warpgroup) * kTileRows);
  }
};

}  // namespace kvasir::cuda
