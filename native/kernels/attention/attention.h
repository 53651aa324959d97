#pragma once

#include <cstdint>

#include "kernels/kv-append/kv-cache.h"
#include "types/dtype.h"
#include "types/execution.h"

namespace kvasir {

// Causal attention of the step's queries over a layer of the paged cache (their own keys already appended).
//
//   s[n,h,j] = scale * dot(q[n,h,:], k[j,h/G,:])              G = H / KH query heads share a key/value head
//   s        = softcap * tanh(s / softcap)                     where softcap > 0
//   s[n,h,j] += slopes[h] * (j - p)                            where slopes is set (ALiBi), p the query's position
//   y[n,h,:] = sum_j softmax_j(s[n,h,j]) v[j,h/G,:]            over j in (p - window, p], or [0, p] where window = 0
//
// Streaming softmax, no (N x N) matrix: Dao et al. 2022, https://arxiv.org/abs/2205.14135. Paged cache: Kwon et al.
// 2023, https://arxiv.org/abs/2309.06180. Grouped heads: Ainslie et al. 2023, https://arxiv.org/abs/2305.13245.
// ALiBi: Press et al. 2021, https://arxiv.org/abs/2108.12409.
//
// A token's result depends on its own query and its sequence's cache alone, bit for bit: the same for any chunking
// of the prompt, any company in the step and any number of threads. (Key tiles start at multiples of a fixed size in
// absolute positions; within a row the order of every sum is fixed.)
struct Attention {
  const void* q;       // (N,H,D), rows q_stride apart, heads contiguous
  KvCacheLayer cache;  // f32 or bf16; arithmetic is f32
  StepTables tables;
  const float* slopes;  // (H,) ALiBi slopes, or null
  void* y;              // (N,H,D), rows y_stride apart; may be q itself
  int64_t H, D;         // KH divides H; D from 1 to 256
  int64_t q_stride, y_stride;
  float scale;
  float softcap;   // 0 for none
  int64_t window;  // positions a query sees including its own; 0 for all before it
  DType dtype;     // of q and y
};

using AttentionKernel = void(const Attention&, Execution&);
using AttentionCudaKernel = void(const Attention&, cuda::Execution&);

// Per-thread work space.
constexpr int64_t kAttentionScratchBytesPerThread = 256 * 1024;

// CUDA: the cache has the dtype of q, or is q8, whose numbers are rounded to the dtype of q, and keys lie by position; where N == S, no sequence has more than one token.
// Arithmetic is f32, but for weights, which are rounded to that dtype before they multiply values.
//
// Keys whose sums are formed from nothing and then added to those before, in absolute positions; and the rows (query
// heads of a group times tokens) up to which splits of a sequence are shared among blocks.
constexpr int64_t kAttentionSplit = 256;
constexpr int64_t kAttentionDecodeRows = 16;

constexpr int64_t attention_splits(int64_t W) {
  return (W * kBlockTokens + kAttentionSplit - 1) / kAttentionSplit;
}

// Rows of a sequence and key/value head whose splits are shared: one token's, or few.
constexpr int64_t attention_decode_rows(int64_t N, int64_t group) {
  const int64_t most = group > kAttentionDecodeRows ? group : kAttentionDecodeRows;
  return N * group < most ? N * group : most;
}

// Device memory for a step of these sizes; enough for every smaller one. Sums of channels, largest score and sum of
// weights for every shared row and split.
constexpr int64_t attention_cuda_scratch_bytes(int64_t N, int64_t S, int64_t W, int64_t H, int64_t KH,
                                               int64_t D) {
  const int64_t rows = S * KH * attention_decode_rows(N, H / KH);
  return rows * attention_splits(W) * (KvCacheLayer::padded(D) + 2) * static_cast<int64_t>(sizeof(float));
}

}  // namespace kvasir
