#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "device/cuda/emulator/block.h"

namespace kvasir::cuda::emulator {

class EarlyBlock;

// What was asked for: a grid of threads that each call `kernel`.
struct Call {
  Grid grid;
  std::function<void()> kernel;
  std::string name;
  int architecture;
  bool overlap;  // the launch may begin before the one before it has ended
};

// One execution of a call.
class Launch {
 public:
  // `asked` and `before`: what a kernel may know from its first line on (the host's past when it asked, copies
  // before it), and what only after wait_for_predecessor (all work before it in the stream).
  Launch(std::shared_ptr<const Call> call, Token& asked, Token& before);
  ~Launch();

  // Runs one block as far as it gets without what was asked for before this launch, which is not done yet: a
  // kernel that does not wait for its predecessor shows itself.
  void begin_early();
  // Runs all blocks, on settings().workers OS threads. Throws Error(kDevice) with what went wrong in one of them.
  void run();

  const Grid& grid() const { return call_->grid; }
  const Call& call() const { return *call_; }

  // For blocks.

  const bool lazy_copies;
  const uint64_t seed, number;
  Token &asked, &before;
  mutable Token ended;  // of its own threads
  mutable std::atomic<bool> waited_for_predecessor = false;

 private:
  class Work;

  std::shared_ptr<const Call> call_;
  std::unique_ptr<EarlyBlock> early_;
};

}  // namespace kvasir::cuda::emulator
