#pragma once

#include <cstdint>

#include "types/dtype.h"
#include "types/execution.h"

namespace kvasir {

// Chooses one token a row, from `adjusted` where there is one, else from the logits; called x here.
//
// forced >= 0: that token, whatever x holds. temperature 0: the largest x, the lowest id among equals. Otherwise, in this
// order:
//   1. p = softmax(x / temperature), in f32, relative to the largest; 0 below e^-87
//   2. top_k > 0: keep the top_k largest x (ties: lower ids first)
//   3. typical_p < 1: of what is kept and renormalised, with H = -sum p log p, keep the shortest list in ascending order of
//      |-log p - H| (ties: lower ids first) whose sum reaches typical_p; at least one. (Meister, Pimentel, Wiher &
//      Cotterell 2023, https://arxiv.org/abs/2202.00666.) As -log p is the distance d = (largest - x) / temperature but
//      for a constant, |-log p - H| = |d - mean d|.
//   4. top_p < 1: of what is kept and renormalised, keep the shortest list in descending order of x (ties: lower ids first)
//      whose sum reaches top_p; at least one
//   5. min_p > 0: keep what has at least min_p times the probability of the largest that is kept, which always is
//   6. take the first kept token, in ascending order of id, at which the running sum exceeds u times the kept total
//      (the last one with p > 0, should rounding leave none)
// with u in [0,1) the first 53 bits of Philox4x32-10 (Salmon et al. 2011, https://doi.org/10.1145/2063384.2063405) under
// key (seed low, seed high) and counter (counter[r], 0, 0, 0): u = (x0 * 2^21 + floor(x1 / 2^11)) / 2^53. So a row's token
// depends on its own logits and parameters alone. Sums are f64.
//
//   logprobs[r] = log softmax(logits[r])[ids[r]]   of the logits, not of x
//
// A row whose logits hold a NaN, +infinity, or nothing above -infinity gives id -1 and logprob NaN, and so does one whose x
// do, unless its token is forced. Rows are shared out among threads; one row is one thread's.
struct Sample {
  const void* logits;  // (R,V), rows logits_stride apart
  const float*
      adjusted;  // (R,V), rows adjusted_stride apart; null where there is none, and then both of these are:
  const float* typical_p;    // (R,), in (0,1]
  const int32_t* forced;     // (R,), in [-1,V)
  const float* temperature;  // (R,), >= 0
  const int32_t* top_k;      // (R,), 0 for all
  const float* top_p;        // (R,), in (0,1]
  const float* min_p;        // (R,), in [0,1]
  const int32_t* seed;       // (R,2): low word, high word
  const int32_t* counter;    // (R,): the position that the token will have
  int32_t* ids;              // (R,)
  float* logprobs;           // (R,)
  int64_t R, V;
  int64_t logits_stride, adjusted_stride;
  DType dtype;  // of the logits
};

using SampleKernel = void(const Sample&, Execution&);
using SampleCudaKernel = void(const Sample&, cuda::Execution&);

// Maxima, sums and candidates of one row a thread, thread after thread.
inline int64_t sample_scratch_bytes_per_thread(int64_t V) { return (V * 17 + 1024) / 64 * 64; }

// What the blocks of a row leave to the last of them, for every window of the row: its largest logit, two sums, a
// count, and the largest of every 32 logits; 60 bytes and room to align the next row. With `adjusted` 12 more: the largest
// of the other matrix, and a sum for typical sampling.
constexpr int64_t kSampleWindow = 256;
inline int64_t sample_cuda_scratch_bytes(int64_t R, int64_t V, bool adjusted) {
  return R * ((V + kSampleWindow - 1) / kSampleWindow) * (adjusted ? 72 : 64);
}

}  // namespace kvasir
