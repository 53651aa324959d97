#pragma once

// A thread takes 8 pairs of a head, or copies 8 of the channels that are not rotated. 2 sizes of T move for
// every element; a token's row of the table comes from a cache for all heads but the first.

#include "kernels/rope/rope.h"
#include "kernels/rope/rotation.cuh"

namespace kvasir::cuda {

// Pieces of work that a head is divided into: groups of pairs, then of other channels.
inline int64_t rope_pieces(const Rope& p) { return pair_groups(p.P) + (p.D - 2 * p.P + kGroup - 1) / kGroup; }

template <class T>
__global__ void __launch_bounds__(kPieceThreads) rope_kernel(Rope p, int head_pieces) {
  ptx::let_successor_start();
  ptx::wait_for_predecessor();
  for_each_piece(p.N, p.H * head_pieces, [&](int64_t n, int64_t piece) {
    const int h = static_cast<int>(piece) / head_pieces, i = static_cast<int>(piece) % head_pieces * kGroup;
    const int64_t pairs_end = pair_groups(p.P) * kGroup;
    const T* x = static_cast<const T*>(p.x) + n * p.x_stride + h * p.D;
    T* y = static_cast<T*>(p.y) + n * p.y_stride + h * p.D;
    if (i < pairs_end) {
      rotate_pairs(x, p.table + n * 2 * p.P, p.P, i, p.interleaved, y);
    } else if (x != y) {
      const int64_t c = 2 * p.P + i - pairs_end;
      copy_group(x + c, y + c, p.D - c);
    }
  });
}

template <class T>
void launch_rope(const Rope& p, Execution& e) {
  const int64_t pieces = rope_pieces(p);
  if (p.N == 0) return;
  launch(e, rope_kernel<T>, piece_shape(p.N, p.H * pieces), p, static_cast<int>(pieces));
}

}  // namespace kvasir::cuda
