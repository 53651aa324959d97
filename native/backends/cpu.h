#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backends/cpu-kernels.h"
#include "device/cpu/thread-pool.h"
#include "runtime/backend.h"

namespace kvasir {

// Instruction sets that this build has kernels for and this processor can run, the best first.
std::vector<std::string> runnable_isas();

// Runs programs on the processor's cores.
class CpuBackend : public Backend {
 public:
  // `isa` empty: the best one. Throws Error(kDevice) for one that is unknown or cannot run here.
  CpuBackend(int num_threads, const std::string& isa);

  const char* isa() const { return kernels_.isa; }
  ThreadPool& pool() { return pool_; }

  // Peak rates of this processor's threads, as the kernels' own loads and multiply-adds reach them: floating-point
  // operations a second, and bytes a second over `bytes` of memory that is read once before.
  double probe_fma();
  double probe_read(int64_t bytes);

  std::byte* allocate(int64_t bytes) override;
  void release(std::byte* memory, int64_t bytes) override;
  int64_t scratch_bytes(const BoundNode& node) const override;
  Step bind(const BoundNode& node, std::byte* scratch) override;

 private:
  const CpuKernels& kernels_;
  ThreadPool pool_;
};

}  // namespace kvasir
