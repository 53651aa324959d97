#pragma once

// Attention of sequences with many rows on Hopper, by wgmma and the copy engine: Shah et al. 2024, FlashAttention-3,
// https://arxiv.org/abs/2407.08608.
//
// Grid (pieces of 128 rows, key/value heads); the pieces that see most keys start first. A block of three warpgroups:
//
//   warp 0         brings the tiles of keys and values that the block's rows see to a ring in shared memory
//   warps 4 to 11  two warpgroups that consume them, 64 rows each; above 128 channels, where the sums of so many do not
//                  fit the registers, both have the same 64 rows and half of the channels, and both form all scores
//
// A consuming warpgroup asks for the products of the queries and the next tile of keys, and for the weighted values of
// this tile; while the latter are under way, it makes weights of the former. The two warpgroups take turns at asking, so
// that one makes weights while the products of the other are formed.
//
// Registers: scores, weights, the sums of this split and of those before. Queries are in shared memory.
//
// Bytes moved: keys and values once for every piece, from the second-level cache but for the first of a group.

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
  static constexpr uint32_t kGroupBytes =
      8 * kStripRowBytes;  // 8 rows, after which the permutation begins anew
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
    const bool covered = this->shared.warps.all[threadIdx.x / 32 - 4].covers(start, kKeyTile);
    float maxima[2], weights[2];
    form_scores(s, this->a.rule, rule_of, this->a.slopes != nullptr, covered, start);
    find_maxima(s, maxima);
#pragma unroll
    for (int i = 0; i < 2; i++) {
      maxima[i] = fmaxf(sums[i].maximum, maxima[i]);
      factors[i] = rescale_of<T>(sums[i].maximum, maxima[i]);
    }
    form_weights<T>(s, maxima, weights);
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

  // What was asked for is done, but for the latest kLeft groups.
  template <int kLeft, int kCount>
  static __device__ __forceinline__ void wait_for_products(float (&d)[kCount][4]) {
    ptx::wgmma_wait<kLeft>();
    ptx::pin(flat(d));
  }

  // Tiles from `first` to `last` - 1, of `tiles` that the block has.
  __device__ __forceinline__ void attend(int first, int last, int tiles, Sums& total) const {
    Sums split;
    ScoreTile s = {};
    WeightTile p;
    float factors[2];
    wait_for(TilePart::kKeys, first);
    ptx::pin(flat(s));
    ptx::wgmma_fence();
    multiply_keys(s, first);
    wait_for_products<0>(s);
    release(TilePart::kKeys, first);
    weigh(s, first, split.rows, factors);
    pack_weights<T>(s, p);
    wait_for(TilePart::kValues, first);
#pragma unroll 1
    for (int tile = first; tile + 1 < last; tile++) {
      wait_for(TilePart::kKeys, tile + 1);
      begin_turn(tile);
      ptx::pin(flat(s));
      ptx::pin(flat(p));
      ptx::pin(flat(split.y));
      ptx::wgmma_fence();
      multiply_keys(s, tile + 1);
      multiply_values(split.y, p, tile);
      end_turn(tile, tiles);
      wait_for_products<1>(s);
      release(TilePart::kKeys, tile + 1);
      const bool ends_split = this->start_of(tile + 1) % kSplit == 0;
      RowSum rows[2] = {split.rows[0], split.rows[1]};
      if (ends_split) split.rows[0] = split.rows[1] = RowSum{};
      weigh(s, tile + 1, split.rows, factors);
      wait_for(TilePart::kValues, tile + 1);
      wait_for_products<0>(split.y);
      ptx::pin(flat(p));
      release(TilePart::kValues, tile);
      if (ends_split) add_split(total, split.y, rows);
      rescale(split.y, factors);
      pack_weights<T>(s, p);
    }
    begin_turn(last - 1);
    ptx::pin(flat(p));
    ptx::pin(flat(split.y));
    ptx::wgmma_fence();
    multiply_values(split.y, p, last - 1);
    end_turn(last - 1, tiles);
    wait_for_products<0>(split.y);
    ptx::pin(flat(p));
    release(TilePart::kValues, last - 1);
    add_split(total, split.y, split.rows);
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
    const KeyRange keys = this->shared.warps.any[warpgroup];
    const int tiles = this->tiles();
    if (keys.empty()) return skip(0, tiles, tiles);
    const int first = this->tile_of(keys.first), last = this->tile_of(keys.last + kKeyTile - 1);
    Sums total;
    skip(0, first, tiles);
    attend(first, last, tiles, total);
    skip(last, tiles, tiles);
    store_rows(this->a, this->shared.rows, first_row() + warp() * 16, first_channel(), total.y, total.rows);
  }
};

// What threads share, for all of them after the next barrier.
template <class T, int kChannels>
__device__ __forceinline__ void share_rows(const Arguments<T>& a, const QueryRows& rows,
                                           HopperShared<T, kChannels>& shared) {
  constexpr int kSlices = kHopperSlices<kChannels>;
  const int last_row = rows.count - 1, thread = static_cast<int>(threadIdx.x);
  if (thread == 0) {
    shared.rows = rows;
    shared.seen = visible_keys(a, rows, 0, last_row);
  }
  if (thread < 2) {
    const int first = thread / kSlices * kStripRows, last = smaller(first + kStripRows - 1, last_row);
    shared.warps.any[thread] = first > last_row ? KeyRange{0, 0} : visible_keys(a, rows, first, last);
  }
  if (thread < 8) {
    const int first = thread / (4 * kSlices) * kStripRows + thread % 4 * 16,
              last = smaller(first + 15, last_row);
    shared.warps.all[thread] =
        first > last_row ? KeyRange{0, 0}
                         : KeyRange{visible_keys(a, rows, last).first, visible_keys(a, rows, first).last};
  }
}

// Without the sequences that decoding takes.
template <class T, int kChannels>
__global__ void __launch_bounds__(kHopperThreads, 1)
    attention_hopper(const __grid_constant__ Arguments<T> a, const __grid_constant__ TensorMap cache) {
  ptx::let_successor_start();
  const int piece = static_cast<int>(gridDim.x - 1 - blockIdx.x);
  QueryRows rows = find_rows<kHopperRows<kChannels>>(a, piece, static_cast<int>(blockIdx.y));
  if (is_decode(rows.tokens, a.group)) rows.count = 0;
  ptx::wait_for_predecessor();
  if (rows.count == 0) return;

  auto& shared = *dynamic_shared<HopperShared<T, kChannels>>();
  share_rows(a, rows, shared);
  if (threadIdx.x == 0) HopperBlock<T, kChannels>{a, shared}.initialize();
  __syncthreads();
  // 128 * 24 + 256 * 240 registers are what 384 threads have at the start, 168 each.
  const int warpgroup = static_cast<int>(threadIdx.x) / 128;
  if (warpgroup == 0) {
    ptx::registers_down<24>();
    if (threadIdx.x < 32) HopperProducer<T, kChannels>{{a, shared}}.run(&cache);
  } else {
    ptx::registers_up<240>();
    HopperConsumer<T, kChannels>{{a, shared}, warpgroup - 1}.run();
  }
}

template <class T, int kChannels>
void launch_hopper(const Attention& p, const Arguments<T>& a, const TensorMap& cache, Execution& e) {
  const int pieces = first_piece<kHopperRows<kChannels>>(static_cast<int>(p.tables.N),
                                                         static_cast<int>(p.tables.S), a.group);
  launch(e, attention_hopper<T, kChannels>,
         {dim3(static_cast<unsigned>(pieces), static_cast<unsigned>(a.KH)), dim3(kHopperThreads),
          sizeof(HopperShared<T, kChannels>)},
         a, cache);
}

}  // namespace kvasir::cuda::attend
