#pragma once

#include <cstdint>

#include "types/execution.h"

namespace kvasir {

// Makes the tables of the next step from the tokens that were sampled, on the device, so that it can begin
// before the host has seen them. One token a sequence; sequences with context_lengths 0 only fill up a step.
//
//   tokens[s] = max(ids[s], 0)      where sampling failed (-1), any token does: the host drops the rest
//   positions[s], context_lengths[s], counter[s] each grow by 1
//   ids_log[s] = ids[s], logprobs_log[s] = logprobs[s]   of all sequences
struct Advance {
  const int32_t* ids;        // (S,), sampled
  int32_t* tokens;           // (S,)
  int32_t* positions;        // (S,), null where the model has none
  int32_t* context_lengths;  // (S,), null where the model has no attention
  int32_t* counter;          // (S,) of sample.h; null for none
  int32_t* ids_log;          // (S,), null where not wanted
  float* logprobs_log;       // (S,), null where not wanted
  const float* logprobs;     // (S,), null only where logprobs_log is
  int64_t S;
};

using AdvanceCudaKernel = void(const Advance&, cuda::Execution&);

}  // namespace kvasir
