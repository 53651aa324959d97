#pragma once

#include <cstddef>
#include <cstdint>

#include "types/dtype.h"

namespace kvasir {

// Positions that one block of the paged cache holds.
constexpr int64_t kBlockTokens = 32;

// One layer's share of the paged KV cache: `num_blocks` blocks, each of `KH` heads, each head's block being
//
//   keys    [D][kBlockTokens]    the positions of one channel side by side
//   values  [kBlockTokens][DP]   the channels of one position side by side, DP = D rounded up to 16, padded with zeros
//
// all of one dtype, f32 or bf16, blocks contiguous and 64-byte aligned. Scores of a query against 32 positions are
// so a column-wise product without sums across lanes, and so are the weighted values. The cache starts as zeros and
// never holds NaN where nothing was written.
struct KvCacheLayer {
  std::byte* data;
  int64_t num_blocks, KH, D;
  DType dtype;

  static constexpr int64_t padded(int64_t D) { return (D + 15) / 16 * 16; }
  int64_t head_elements() const { return (D + padded(D)) * kBlockTokens; }
  int64_t head_bytes() const { return head_elements() * size_of(dtype); }
  int64_t block_bytes() const { return head_bytes() * KH; }
  std::byte* keys(int64_t block, int64_t head) const {
    return data + block * block_bytes() + head * head_bytes();
  }
  std::byte* values(int64_t block, int64_t head) const {
    return keys(block, head) + D * kBlockTokens * size_of(dtype);
  }
};

// Which tokens of a step belong to which sequence, and where each sequence's positions lie in the cache.
//
// Sequence s owns the step's tokens query_starts[s] .. query_starts[s+1]-1; the last of them has position
// context_lengths[s]-1, the others precede it without gaps. Position p of sequence s is in block
// block_tables[s*W + p / kBlockTokens] at place p % kBlockTokens. All checked before a kernel sees them.
struct StepTables {
  const int32_t* query_starts;     // (S+1,), from 0 to N
  const int32_t* context_lengths;  // (S,)
  const int32_t* block_tables;     // (S,W)
  int64_t N, S, W;
};

}  // namespace kvasir
