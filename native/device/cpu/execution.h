#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "device/cpu/thread-pool.h"

namespace kvasir {

// What is faster on this processor; instruction sets do not tell.
struct Preferences {
  bool fetch_ahead = false;    // a stream from memory, beyond what the processor fetches by itself
  bool bf16_products = false;  // products of pairs of bf16, against products of f32
};

// What a CPU kernel runs with.
struct Execution {
  ThreadPool& pool;
  std::byte* scratch;  // at least the kernel's own <name>_scratch_bytes, 64-byte aligned
  const std::atomic<int32_t>*
      abort;  // nonzero: leave as soon as you can; results no longer matter. May be null.
  Preferences preferences = {};

  bool aborted() const { return abort != nullptr && abort->load(std::memory_order_relaxed) != 0; }
};

}  // namespace kvasir
