#pragma once

#include <cstdint>

#include "kernels/sample/sample.h"
#include "types/dtype.h"
#include "types/execution.h"

namespace kvasir {

// The likeliest tokens of a row: the counts[r] largest of `allowed`, in descending order, lower ids first among equals,
// without those at -infinity (or NaN). With n of them, n <= counts[r],
//
//   top_ids[r,i], top_logprobs[r,i] = log softmax(logits[r])[top_ids[r,i]]   for i < n
//   top_ids[r,i], top_logprobs[r,i] = -1, -infinity                          for n <= i < most
//
// n is 0 where the logits hold a NaN, +infinity or nothing above -infinity, or `allowed` holds +infinity.
struct TopLogits {
  const void* logits;     // (R,V), rows logits_stride apart
  const float* allowed;   // (R,V), rows allowed_stride apart
  const int32_t* counts;  // (R,), in [0,most]
  int32_t* top_ids;       // (R,most)
  float* top_logprobs;    // (R,most)
  int64_t R, V, most;
  int64_t logits_stride, allowed_stride;
  DType dtype;  // of the logits
};

// No row lists more.
constexpr int64_t kMostListed = 256;

using TopLogitsKernel = void(const TopLogits&, Execution&);
using TopLogitsCudaKernel = void(const TopLogits&, cuda::Execution&);

// The maxima of one row a thread, thread after thread.
inline int64_t top_logits_scratch_bytes_per_thread(int64_t V) { return (V / 4 + 512) / 64 * 64; }

// As `sample` uses it.
inline int64_t top_logits_cuda_scratch_bytes(int64_t R, int64_t V) {
  return sample_cuda_scratch_bytes(R, V, true);
}

}  // namespace kvasir
