#pragma once

#include <cstdint>

#include "types/dtype.h"
#include "types/execution.h"

namespace kvasir {

// Chooses one token a row.
//
// temperature 0: the largest logit, the lowest id among equals. Otherwise, in this order:
//   1. p = softmax(logits / temperature), in f32, relative to the largest; 0 below e^-87
//   2. top_k > 0: keep the top_k largest logits (ties: lower ids first)
//   3. top_p < 1: of what is kept and renormalised, keep the shortest list in descending order of logits (ties: lower
//      ids first) whose sum reaches top_p; at least one
//   4. min_p > 0: keep what has at least min_p times the probability of the largest, which is always kept
//   5. take the first kept token, in ascending order of id, at which the running sum exceeds u times the kept total
//      (the last one with p > 0, should rounding leave none)
// with u in [0,1) the first 53 bits of Philox4x32-10 (Salmon et al. 2011, https://doi.org/10.1145/2063384.2063405) under
// key (seed low, seed high) and counter (counter[r], 0, 0, 0): u = (x0 * 2^21 + floor(x1 / 2^11)) / 2^53. So a row's token
// depends on its own logits and parameters alone. Sums are f64.
//
//   logprobs[r] = log softmax(logits[r])[ids[r]]   of the unchanged logits
//
// A row with a NaN, with +infinity, or with nothing above -infinity gives id -1 and logprob NaN. Rows are shared out
// among threads; one row is one thread's.
struct Sample {
  const void* logits;        // (R,V), rows logits_stride apart
  const float* temperature;  // (R,), >= 0
  const int32_t* top_k;      // (R,), 0 for all
  const float* top_p;        // (R,), in (0,1]
  const float* min_p;        // (R,), in [0,1]
  const int32_t* seed;       // (R,2): low word, high word
  const int32_t* counter;    // (R,): the position that the token will have
  int32_t* ids;              // (R,)
  float* logprobs;           // (R,)
  int64_t R, V;
  int64_t logits_stride;
  DType dtype;  // of the logits
};

using SampleKernel = void(const Sample&, Execution&);
using SampleCudaKernel = void(const Sample&, cuda::Execution&);

// Maxima, sums and candidates of one row a thread, thread after thread.
inline int64_t sample_scratch_bytes_per_thread(int64_t V) { return (V * 13 + 1024) / 64 * 64; }

// What the blocks of a row leave to the last of them, for every window of the row: its largest logit, two sums, a
// count, and the largest of every 32 logits; 60 bytes and room to align the next row.
constexpr int64_t kSampleWindow = 256;
inline int64_t sample_cuda_scratch_bytes(int64_t R, int64_t V) {
  return R * ((V + kSampleWindow - 1) / kSampleWindow) * 64;
}

}  // namespace kvasir
