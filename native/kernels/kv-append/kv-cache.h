#pragma once

#include <cstddef>
#include <cstdint>

#include "types/dtype.h"

namespace kvasir {

// Positions that one block of the paged cache holds.
constexpr int64_t kBlockTokens = 32;

// One layer's share of the paged KV cache: `num_blocks` blocks, each of `KH` heads, each head's block being
//
//   keys    [D][kBlockTokens]    kByChannel: the positions of one channel side by side
//           [kBlockTokens][DP]   kByPosition: as the values
//   values  [kBlockTokens][DP]   the channels of one position side by side, DP = D rounded up to 16, padded with zeros
//
// all of one dtype, f32, f16, bf16 or q8, blocks contiguous and 64-byte aligned. In q8 elements are int8, and
// after the values come 32 scales of the keys and 32 of the values, f32: a position's key is its scale times its
// elements. By channel (the CPU), scores of a query
// against 32 positions are a column-wise product without sums across lanes, and so are the weighted values; by
// position (CUDA), keys and values are operands of matrix instructions as they lie. The cache starts as zeros and
// never holds NaN where nothing was written.
enum class KeyLayout : uint8_t { kByChannel, kByPosition };

struct KvCacheLayer {
  std::byte* data;
  int64_t num_blocks, KH, D;
  DType dtype;
  KeyLayout key_layout = KeyLayout::kByChannel;

  static constexpr int64_t padded(int64_t D) { return (D + 15) / 16 * 16; }
  int64_t key_elements() const {
    return (key_layout == KeyLayout::kByChannel ? D : padded(D)) * kBlockTokens;
  }
  int64_t head_elements() const { return key_elements() + padded(D) * kBlockTokens; }
  bool has_scales() const { return dtype == DType::kQ8; }
  int64_t element_bytes() const { return has_scales() ? 1 : size_of(dtype); }
  int64_t key_bytes() const { return (key_elements() * element_bytes() + 63) / 64 * 64; }
  int64_t value_bytes() const { return padded(D) * kBlockTokens * element_bytes(); }
  int64_t head_bytes() const {
    return key_bytes() + value_bytes() + (has_scales() ? 2 * kBlockTokens * int64_t{sizeof(float)} : 0);
  }
  int64_t block_bytes() const { return head_bytes() * KH; }
  std::byte* keys(int64_t block, int64_t head) const {
    return data + block * block_bytes() + head * head_bytes();
  }
  std::byte* values(int64_t block, int64_t head) const { return keys(block, head) + key_bytes(); }
  // q8: of the block's positions.
  float* key_scales(int64_t block, int64_t head) const {
    return reinterpret_cast<float*>(values(block, head) + value_bytes());
  }
  float* value_scales(int64_t block, int64_t head) const { return key_scales(block, head) + kBlockTokens; }
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
