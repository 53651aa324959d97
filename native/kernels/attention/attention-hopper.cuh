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

#include "kernels/attention/attention-hopper-consumer.cuh"
#include "kernels/attention/attention-hopper-producer.cuh"

namespace kvasir::cuda::attend {

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
    shared.visible.any[thread] = first > last_row ? KeyRange{0, 0} : visible_keys(a, rows, first, last);
  }
  if (thread < 8) {
    const int first = thread / (4 * kSlices) * kStripRows + thread % 4 * 16,
              last = smaller(first + 15, last_row);
    shared.visible.all[thread] =
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
