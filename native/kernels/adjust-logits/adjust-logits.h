#pragma once

#include <cstdint>

#include "types/dtype.h"
#include "types/execution.h"

namespace kvasir {

// What tokens are chosen from: the logits with a row's edits and its mask.
//
//   adjusted[r,id] = logits[r,id], but for the row's edits e from edit_starts[r] to edit_starts[r+1] - 1:
//     x = logits[r,edit_ids[e]];  x = x > 0 ? x / edit_factors[e] : x * edit_factors[e];  x + edit_offsets[e]
//   and where mask_rows[r] >= 0: -infinity where bit id % 32 of masks[mask_rows[r], id / 32] is 0.
//
// The factor is the repetition penalty of Keskar et al. 2019, https://arxiv.org/abs/1909.05858; 1 leaves the logit. An
// offset is a bias, or penalties for a token's presence and frequency; -infinity bans. Each operation rounds to f32. NaN
// and infinities pass through as this arithmetic has them, so that what chooses among the logits sees them.
struct AdjustLogits {
  const void* logits;          // (R,V), rows logits_stride apart
  const int32_t* edit_starts;  // (R+1,), ascending from 0 to E
  const int32_t* edit_ids;     // (E,), in [0,V), each once in a row
  const float* edit_factors;   // (E,), > 0, finite
  const float* edit_offsets;   // (E,), below infinity
  const int32_t* mask_rows;    // (R,), in [-1,M)
  const int32_t* masks;        // (M, mask_words(V))
  float* adjusted;             // (R,V), rows adjusted_stride apart; not the logits
  int64_t R, V;
  int64_t logits_stride, adjusted_stride;
  DType dtype;  // of the logits
};

inline int64_t mask_words(int64_t V) { return (V + 31) / 32; }

using AdjustLogitsKernel = void(const AdjustLogits&, Execution&);
using AdjustLogitsCudaKernel = void(const AdjustLogits&, cuda::Execution&);

}  // namespace kvasir
