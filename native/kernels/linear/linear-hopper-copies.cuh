#pragma once

// The warps of linear-hopper.cuh that bring and take away: at most 40 registers each.

#include "kernels/linear/linear-hopper-block.cuh"

namespace kvasir::cuda {

// One thread. Fills stages of the ring as they become free, tile after tile.
template <class T, class Y, int kTokens>
struct HopperProducer : HopperBlock<T, Y, kTokens> {
  using Block = HopperBlock<T, Y, kTokens>;
  using Tile = typename Block::Tile;

  __device__ void run(const TensorMap* x) const {
    typename Block::Position at;
    this->for_each_tile([&](TilePlace tile) {
      const auto& p = this->p;
      const int64_t first = tile.row_block * 2;
      // A warpgroup whose rows the matrix does not have gets those of the other.
      const int64_t second = first + 1 < p.row_tiles ? first + 1 : first;
      const std::byte* rows[2] = {p.weight + first * p.k_blocks * kTileBytes,
                                  p.weight + second * p.k_blocks * kTileBytes};
      for (int block = 0; block < p.k_blocks; block++, at.advance()) {
        const uint32_t to = this->stage(at.stage), full = this->full(at.stage);
        ptx::mbarrier_wait(this->empty(at.stage), at.parity ^ 1);
        ptx::mbarrier_expect(full, Tile::kStageBytes);
        ptx::copy_tensor(to + Tile::kWeightBytes, x, block * kHopperColumns, tile.token_block * kTokens,
                         full);
#pragma unroll
        for (int w = 0; w < 2; w++)
          ptx::copy_bulk(to + w * kTileBytes, rows[w] + int64_t{block} * kTileBytes, kTileBytes, full);
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
    this->for_each_tile([&](TilePlace tile) {
      for (int w = 0; w < 2; w++) {
        if (this->p.out.residual != nullptr) load_residual(tile, w);
        ptx::barrier_arrive(kPlaceReady + w, kPlaceThreads);
      }
      for (int w = 0; w < 2; w++) {
        ptx::barrier_sync(kPlaceWritten + w, kPlaceThreads);
        write(tile, w);
      }
      ptx::barrier_sync(kMoversMeet, kHopperMovers);  // no residual where another mover still reads
    });
  }
};

}  // namespace kvasir::cuda
