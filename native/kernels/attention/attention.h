#pragma once

#include <cstdint>

#include "device/cpu/execution.h"
#include "kernels/kv-append/kv-cache.h"

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
  const float* q;      // (N,H,D), rows q_stride apart, heads contiguous
  KvCacheLayer cache;  // f32 or bf16; arithmetic is f32
  StepTables tables;
  const float* slopes;  // (H,) ALiBi slopes, or null
  float* y;             // (N,H,D), rows y_stride apart; may be q itself
  int64_t H, D;         // KH divides H; D from 1 to 256
  int64_t q_stride, y_stride;
  float scale;
  float softcap;   // 0 for none
  int64_t window;  // positions a query sees including its own; 0 for all before it
};

using AttentionKernel = void(const Attention&, Execution&);

// Per-thread work space.
constexpr int64_t kAttentionScratchBytesPerThread = 256 * 1024;

}  // namespace kvasir
