#pragma once

// The warps of linear-hopper.cuh that bring and take away: at most 40 registers each.

#include "kernels/linear/linear-hopper-block.cuh"

namespace kvasir::cuda {

// One thread. Fills stages of the ring as they become free, tile after tile.
template <class T, class Y, int kTokens>
struct HopperProducer : HopperBlock<T, Y, kTokens> {
  using Block = HopperBlock<T, Y, kTokens>;
  using Tile = typename Block::Tile;

  __device__ __forceinline__ void copy_weights(const typename Block::Item& item, int block, int stage) const {
    const auto& p = this->p;
    const int64_t first = item.tile.row_block * 2;
    // A warpgroup whose rows the matrix does not have gets those of the other.
    const int64_t second = first + 1 < p.row_tiles ? first + 1 : first;
    const uint32_t to = this->stage(stage), full = this->full(stage);
    ptx::mbarrier_expect(full, Tile::kStageBytes);
    ptx::copy_bulk(to, p.weight + (first * p.k_blocks + block) * kTileBytes, kTileBytes, full);
    ptx::copy_bulk(to + kTileBytes, p.weight + (second * p.k_blocks + block) * kTileBytes, kTileBytes, full);
  }

  // Weights do not wait for the kernel's predecessor: as many as the ring holds. How many stages have theirs.
  __device__ __forceinline__ int begin() const {
    const typename Block::Item item = this->item(static_cast<int>(blockIdx.x));
    const int blocks = item.last_block - item.first_block;
    const int stages = blocks < Tile::kStages ? blocks : Tile::kStages;
    for (int i = 0; i < stages; i++) copy_weights(item, item.first_block + i, i);
    return stages;
  }

  __device__ void run(const TensorMap* x) const {
    int begun = begin();
    ptx::wait_for_predecessor();
    typename Block::Position at;
    this->for_each_item([&](const typename Block::Item& item) {
      for (int block = item.first_block; block < item.last_block; block++, at.advance()) {
        if (begun > 0) {
          begun--;
        } else {
          ptx::mbarrier_wait(this->empty(at.stage), at.parity ^ 1);
          copy_weights(item, block, at.stage);
        }
        ptx::copy_tensor(this->stage(at.stage) + Tile::kWeightBytes, x, block * kHopperColumns,
                         item.tile.token_block * kTokens, this->full(at.stage));
      }
    });
  }
};

// 96 threads. Bring the residual to the warpgroups' places, and finished outputs from there to y.
template <class T, class Y, int kTokens>
struct HopperMover : HopperBlock<T, Y, kTokens> {
  using Block = HopperBlock<T, Y, kTokens>;
  using Tile = typename Block::Tile;

  // body(piece in the warpgroup's place, the same piece of `matrix`, count) for pieces of 16 bytes of which `count`
  // elements exist. A thread has the same outputs of different tokens.
  template <class Element, class F>
  __device__ __forceinline__ void for_each_piece(TilePlace tile, int warpgroup, Element* matrix,
                                                 int64_t stride, const F& body) const {
    const LinearOutput& out = this->p.out;
    const int pieces = out.gated ? Tile::kPieces / 2 : Tile::kPieces;
    const int mover = static_cast<int>(threadIdx.x) - 32, piece = mover % pieces;
    const int64_t n = this->first_output(tile, warpgroup) + piece * Tile::kPieceElements;
    const int count = static_cast<int>(out.N - n < Tile::kPieceElements ? out.N - n : Tile::kPieceElements);
    if (count <= 0) return;
    const int64_t m0 = int64_t{tile.token_block} * kTokens;
    const int tokens = static_cast<int>(out.M - m0 < kTokens ? out.M - m0 : kTokens);
    const int first = mover / pieces, step = kHopperMovers / pieces;
    std::byte* place = this->place(warpgroup);
    Element* elements = matrix + (m0 + first) * stride + n;
#pragma unroll 1
    for (int token = first; token < tokens; token += step, elements += step * stride)
      body(place + token * Tile::kPlaceRowBytes + ((piece ^ token % 8) * 16), elements, count);
  }

  __device__ void load_residual(TilePlace tile, int warpgroup) const {
    const auto load = [&](std::byte* piece, const Y* from, int count) {
      if (count == Tile::kPieceElements && this->p.residual_aligned) {
        ptx::copy_async(ptx::shared_address(piece), from);
      } else {
        for (int i = 0; i < count; i++) reinterpret_cast<Y*>(piece)[i] = from[i];
      }
    };
    const LinearOutput& out = this->p.out;
    for_each_piece(tile, warpgroup, static_cast<const Y*>(out.residual), out.residual_stride, load);
    ptx::commit_copies();
    ptx::wait_for_copies<0>();
  }

  __device__ void write(TilePlace tile, int warpgroup) const {
    const auto store = [&](const std::byte* piece, Y* to, int count) {
      if (count == Tile::kPieceElements && this->p.y_aligned) {
        *reinterpret_cast<uint4*>(to) = *reinterpret_cast<const uint4*>(piece);
      } else {
        for (int i = 0; i < count; i++) to[i] = reinterpret_cast<const Y*>(piece)[i];
      }
    };
    for_each_piece(tile, warpgroup, static_cast<Y*>(this->p.out.y), this->p.out.y_stride, store);
  }

  __device__ void run() const {
    ptx::wait_for_predecessor();
    this->for_each_item([&](const typename Block::Item& item) {
      bool finishes[2] = {true, true};
#pragma unroll
      for (int w = 0; w < 2; w++) {
        if (this->shares_tiles()) {
          ptx::barrier_sync(kDecided + w, kPlaceThreads);
          finishes[w] = *this->finishes(w) != 0;
        }
        if (this->p.out.residual != nullptr && finishes[w]) load_residual(item.tile, w);
        ptx::barrier_arrive(kPlaceReady + w, kPlaceThreads);
      }
#pragma unroll
      for (int w = 0; w < 2; w++) {
        ptx::barrier_sync(kPlaceWritten + w, kPlaceThreads);
        if (finishes[w]) write(item.tile, w);
      }
      ptx::barrier_sync(kMoversMeet, kHopperMovers);  // no residual where another mover still reads
    });
  }
};

}  // namespace kvasir::cuda
