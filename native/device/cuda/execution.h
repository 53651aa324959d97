#pragma once

#include <cstddef>
#include <cstdint>

namespace kvasir::cuda {

class Stream;

// Counters that kernels of one stream share, all zero between kernels: a kernel that uses some leaves zeros.
constexpr int64_t kNumCounters = 1 << 16;

// What a CUDA kernel is launched with.
struct Execution {
  Stream& stream;
  std::byte* scratch;  // device memory, at least the kernel's own <name>_cuda_scratch_bytes, 256-byte aligned
  uint32_t* counters;  // device memory, kNumCounters
  int architecture;    // compute capability: 80 for 8.0, 90 for 9.0
  int multiprocessors;
  int64_t shared_bytes;  // shared memory that a block may have
  bool overlap;          // kernels may start while the one before them ends, see ptx::wait_for_predecessor
};

}  // namespace kvasir::cuda
