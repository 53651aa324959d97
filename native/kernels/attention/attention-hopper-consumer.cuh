#pragma once

// The warpgroups of attention-hopper.cuh that form products and weights: what attention-prefill.cuh does, by wgmma.

#include "device/cuda/ptx-wgmma.cuh"
#include "kernels/attention/attention-hopper-block.cuh"

namespace kvasir::cuda::attend {

// Named barriers: the queries are there; warpgroup w may ask for products, kTurn + w.
constexpr int kQueriesReady = 1, kTurn = 2;

// The same registers as wgmma names them.
template <int kPieces>
__device__ __forceinline__ float (&flat(float (&x)[kPieces][4]))[4 * kPieces] {
  return reinterpret_cast<float(&)[4 * kPieces]>(x);
}
__device__ __forceinline__ uint32_t (&flat(WeightTile& x))[kKeyTile / 4] {
  return reinterpret_cast<uint32_t(&)[kKeyTile / 4]>(x);
}

// One of the two consuming warpgroups.
template <class T, int kChannels>
struct HopperConsumer : HopperBlock<T, kChannels> {
  using Block = HopperBlock<T, kChannels>;
  static constexpr int kSlices = kHopperSlices<kChannels>;
  static constexpr int kPieces = kChannels / 8 / kSlices;  // of 8 channels, a warpgroup's share
  static constexpr uint64_t kDescribed = 16;               // bytes that are 1 in an operand's descriptor
  // 8 rows, after which the permutation begins anew.
  static constexpr uint32_t kGroupBytes = 8 * kStripRowBytes;
  struct Sums {
    float y[kPieces][4] = {};
    RowSum rows[2];
  };

  int warpgroup;

  // Of the piece, the warpgroup's.
  __device__ __forceinline__ int first_row() const { return kSlices == 1 ? warpgroup * kStripRows : 0; }
  __device__ __forceinline__ int first_channel() const { return kSlices == 1 ? 0 : warpgroup * kPieces * 8; }
  __device__ __forceinline__ static int warp() { return static_cast<int>(threadIdx.x % 128) / 32; }
  // The first of the lane's two rows.
  __device__ __forceinline__ int row_of_lane() const {
    return first_row() + warp() * 16 + static_cast<int>(threadIdx.x % 32) / 4;
  }

  // Queries to shared memory: zeros in channels from D on, and in rows from count on.
  __device__ __forceinline__ void load_queries() const {
    constexpr int kRows = kHopperRows<kChannels>, kGroups = kChannels / kGroup;
    constexpr int kStripGroups = kStripChannels / kGroup;
    const QueryRows& rows = this->shared.rows;
    const int D = this->a.D;
#pragma unroll 4
    for (int i = static_cast<int>(threadIdx.x) % kHopperConsumers; i < kRows * kGroups;
         i += kHopperConsumers) {
      const int row = i / kGroups, channel = i % kGroups * kGroup;
      const int strip = row / kStripRows * Block::kStrips + channel / kStripChannels;
      const int piece = channel / kGroup % kStripGroups ^ row % 8;
      float q[kGroup] = {};
      if (row < rows.count)
        load_group(this->a.q + row_offset(this->a, rows, row, this->a.q_stride) + channel, D - channel, q);
      store_whole(
          this->shared.queries + (strip * kStripRows + row % kStripRows) * kStripChannels + piece * kGroup,
          q);
    }
    ptx::fence_async_proxy();
    ptx::barrier_sync(kQueriesReady, kHopperConsumers);
  }

  __device__ __forceinline__ void wait_for(TilePart part, int tile) const {
    ptx::mbarrier_wait(this->full(part, tile), this->parity_of(tile));
  }
  __device__ __forceinline__ void release(TilePart part, int tile) const {
    if (threadIdx.x % 32 == 0) ptx::mbarrier_arrive(this->empty(part, tile));
  }

  // A turn for every tile of the block, warpgroup 0 first.
  __device__ __forceinline__ void begin_turn(int tile) const {
    if (warpgroup == 1 || tile > 0) ptx::barrier_sync(kTurn + warpgroup, kHopperConsumers);
  }
  __device__ __forceinline__ void end_turn(int tile, int tiles) const {
    if (warpgroup == 0 || tile + 1 < tiles) ptx::barrier_arrive(kTurn + 1 - warpgroup, kHopperConsumers);
  }

  // s = q k, asked for.
  __device__ __forceinline__ void multiply_keys(ScoreTile& s, int tile) const {
    const uint64_t queries = ptx::matrix_descriptor(
        ptx::shared_address(this->shared.queries + first_row() * kChannels), 0, kGroupBytes);
    const uint64_t keys =
        ptx::matrix_descriptor(ptx::shared_address(this->place(TilePart::kKeys, tile)), 0, kGroupBytes);
#pragma unroll
    for (int k = 0; k < kChannels / 16; k++) {
      const uint64_t step = (k / 4 * kStripBytes + k % 4 * 32) / kDescribed;
      ptx::wgmma<T, kKeyTile>(flat(s), queries + step, keys + step, k > 0);
    }
    ptx::wgmma_commit();
  }

  // y += p v, asked for.
  __device__ __forceinline__ void multiply_values(float (&y)[kPieces][4], const WeightTile& p,
                                                  int tile) const {
    const T* first = this->place(TilePart::kValues, tile) + first_channel() * kStripRows;
    const uint64_t values = ptx::matrix_descriptor(ptx::shared_address(first), kStripBytes, kGroupBytes);
#pragma unroll
    for (int k = 0; k < kKeyTile / 16; k++)
      ptx::wgmma<T, kPieces * 8, true>(flat(y), p[k], values + k * (2 * kGroupBytes / kDescribed), true);
    ptx::wgmma_commit();
  }

  // Products of a tile become weights. `sums`: of the split it is in. `factors`: for the channels' sums before it.
  __device__ __forceinline__ void weigh(ScoreTile& s, int tile, RowSum (&sums)[2],
                                        float (&factors)[2]) const {
    const int start = this->start_of(tile), row = row_of_lane();
    const auto rule_of = [&](int i) { return row_rule(this->a, this->shared.rows, row + 8 * i); };
    const bool covered = this->shared.visible.all[threadIdx.x / 32 - 4].covers(start, kKeyTile);
    float maxima[2], weights[2];
    const float factor = form_scores(s, this->a.rule, rule_of, this->a.slopes != nullptr, covered, start);
    find_maxima(s, factor, maxima);
#pragma unroll
    for (int i = 0; i < 2; i++) {
      maxima[i] = fmaxf(sums[i].maximum, maxima[i]);
      factors[i] = rescale_of<T>(sums[i].maximum, maxima[i]);
    }
    form_weights<T>(s, factor, maxima, weights);
#pragma unroll
    for (int i = 0; i < 2; i++) sums[i] = {maxima[i], fmaf(sums[i].weight, factors[i], weights[i])};
  }

  // `y` and `rows` of a split are added; `y` is zeros then.
  __device__ __forceinline__ void add_split(Sums& total, float (&y)[kPieces][4], RowSum (&rows)[2]) const {
    MergeFactors factors[2];
#pragma unroll
    for (int i = 0; i < 2; i++) {
      rows[i].weight = add_lanes(rows[i].weight);
      factors[i] = merge<T>(total.rows[i], rows[i]);
    }
#pragma unroll
    for (int j = 0; j < kPieces; j++) {
#pragma unroll
      for (int c = 0; c < 4; c++) {
        total.y[j][c] = merged(total.y[j][c], y[j][c], factors[c / 2]);
        y[j][c] = 0.0f;
      }
    }
  }

  // What is in registers between tiles. `p`: weights of the tile whose values come next. `split.rows`: with that tile;
  // `split.y`: without it, but relative to the same maxima.
  struct Work {
    ScoreTile s = {};
    WeightTile p = {};
    Sums split, total;
  };

  // Before products are asked for: what they read and change is as it should be.
  static __device__ __forceinline__ void fence(Work& w) {
    ptx::pin(flat(w.s));
    ptx::pin(flat(w.p));
    ptx::pin(flat(w.split.y));
    ptx::wgmma_fence();
  }
  // The scores asked for are there, but for kLeft groups that were asked for later.
  template <int kLeft>
  __device__ __forceinline__ void receive_scores(Work& w, int tile) const {
    ptx::wgmma_wait<kLeft>();
    ptx::pin(flat(w.s));
    release(TilePart::kKeys, tile);
  }
  __device__ __forceinline__ void receive_sums(Work& w, int tile) const {
    ptx::wgmma_wait<0>();
    ptx::pin(flat(w.split.y));
    ptx::pin(flat(w.p));
    release(TilePart::kValues, tile);
  }

  __device__ __forceinline__ void begin(Work& w, int tile) const {
    float factors[2];
    wait_for(TilePart::kKeys, tile);
    fence(w);
    multiply_keys(w.s, tile);
    receive_scores<0>(w, tile);
    weigh(w.s, tile, w.split.rows, factors);
    pack_weights<T>(w.s, w.p);
    wait_for(TilePart::kValues, tile);
  }

  // Values of a tile, and the weights of the next.
  __device__ __forceinline__ void go_on(Work& w, int tile, int tiles) const {
    wait_for(TilePart::kKeys, tile + 1);
    begin_turn(tile);
    fence(w);
    multiply_keys(w.s, tile + 1);
    multiply_values(w.split.y, w.p, tile);
    end_turn(tile, tiles);
    receive_scores<1>(w, tile + 1);
    const bool ends_split = this->start_of(tile + 1) % kSplit == 0;
    RowSum ended[2] = {w.split.rows[0], w.split.rows[1]};
    if (ends_split) w.split.rows[0] = w.split.rows[1] = RowSum{};
    float factors[2];
    weigh(w.s, tile + 1, w.split.rows, factors);
    // Here and not where they are needed: without a branch between them, ptxas would have the products received before
    // the weights are made.
    wait_for(TilePart::kValues, tile + 1);
    receive_sums(w, tile);
    if (ends_split) add_split(w.total, w.split.y, ended);
    rescale(w.split.y, factors);
    pack_weights<T>(w.s, w.p);
  }

  __device__ __forceinline__ void end(Work& w, int tile, int tiles) const {
    begin_turn(tile);
    fence(w);
    multiply_values(w.split.y, w.p, tile);
    end_turn(tile, tiles);
    receive_sums(w, tile);
    add_split(w.total, w.split.y, w.split.rows);
  }

  // Tiles that the warpgroup does not see pass.
  __device__ __forceinline__ void skip(int first, int last, int tiles) const {
#pragma unroll 1
    for (int tile = first; tile < last; tile++) {
      for (const TilePart part : {TilePart::kKeys, TilePart::kValues}) {
        wait_for(part, tile);
        __syncwarp();  // all lanes know that the tile came: after the release the barrier's next phase may complete
        release(part, tile);
      }
      begin_turn(tile);
      end_turn(tile, tiles);
    }
  }

  __device__ __forceinline__ void run() const {
    load_queries();
    const KeyRange keys = this->shared.visible.any[warpgroup];
    const int tiles = this->tiles();
    if (keys.empty()) return skip(0, tiles, tiles);
    const int first = this->tile_of(keys.first), last = this->tile_of(keys.last + kKeyTile - 1);
    Work w;
    skip(0, first, tiles);
    begin(w, first);
#pragma unroll 1
    for (int tile = first; tile + 1 < last; tile++) go_on(w, tile, tiles);
    end(w, last - 1, tiles);
    skip(last, tiles, tiles);
    store_rows(this->a, this->shared.rows, first_row() + warp() * 16, first_channel(), w.total.y,
               w.total.rows);
  }
};

}  // namespace kvasir::cuda::attend
