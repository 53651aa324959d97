#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "device/cpu/thread-pool.h"

namespace kvasir {

// What a CPU kernel runs with.
struct Execution {
  ThreadPool& pool;
  std::byte* scratch;  // at least the kernel's own <name>_scratch_bytes, 64-byte aligned
  const std::atomic<int32_t>*
      abort;  // nonzero: leave as soon as you can; results no longer matter. May be null.
  // Whether a stream from memory is faster if it is fetched ahead of its use, beyond what the processor does by itself.
  bool fetch_ahead = false;

  bool aborted() const { return abort != nullptr && abort->load(std::memory_order_relaxed) != 0; }
};

}  // namespace kvasir
