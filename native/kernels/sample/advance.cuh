#pragma once

// A thread takes a sequence.

#include "device/cuda/cuda.h"
#include "kernels/sample/advance.h"

namespace kvasir::cuda {

constexpr int kAdvanceThreads = 128;

static __global__ void __launch_bounds__(kAdvanceThreads) advance_kernel(Advance p) {
  ptx::let_successor_start();
  ptx::wait_for_predecessor();
  const int64_t s = static_cast<int64_t>(blockIdx.x) * kAdvanceThreads + threadIdx.x;
  if (s >= p.S) return;
  const int32_t id = p.ids[s];
  if (p.ids_log != nullptr) p.ids_log[s] = id;
  if (p.logprobs_log != nullptr) p.logprobs_log[s] = p.logprobs[s];
  if (p.context_lengths != nullptr) {
    if (p.context_lengths[s] == 0) return;
    p.context_lengths[s]++;
  }
  p.tokens[s] = id < 0 ? 0 : id;
  if (p.positions != nullptr) p.positions[s]++;
  if (p.counter != nullptr) p.counter[s]++;
}

}  // namespace kvasir::cuda
