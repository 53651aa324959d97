#pragma once

#include <atomic>
#include <cstdint>
#include <functional>

#include "device/cuda/emulator/block.h"

namespace kvasir::cuda::emulator {

struct Launch {
  Grid grid;
  const std::function<void()>* kernel;
  int architecture;
  int64_t shared_bytes_allowed;
  bool overlap;

  // Set by run.
  bool lazy_copies = true;
  uint64_t seed = 0;
  uint64_t number = 0;
  mutable std::atomic<bool> waited_for_predecessor = false;
  // What a kernel may know from its first line on, and what only after wait_for_predecessor.
  Token* asked = nullptr;   // the host's past at the time of the launch, and copies before it
  Token* before = nullptr;  // the end of everything before it in the stream
  mutable Token ended;      // of its own threads

  bool failed() const { return failed_.load(std::memory_order_relaxed); }
  std::atomic<bool> failed_ = false;
};

// Runs all blocks, on settings().workers OS threads. Throws Error(kDevice) with what went wrong in one of them.
void run(Launch& launch, const std::string& name);

// For the running thread.
void wait_for_predecessor();

}  // namespace kvasir::cuda::emulator
