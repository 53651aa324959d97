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

  // Peak rates of this processor's threads, as the kernels' own loads and multiply-adds reach them: floating-point
  // operations a second, and bytes a second over `bytes` of memory that is read once before.
  double probe_arithmetic(Arithmetic arithmetic);
  double probe_read(int64_t bytes);

  const DeviceRules& rules() const override;
  ThreadPool& pool() override { return pool_; }
  std::byte* allocate(int64_t bytes) override;
  void release(std::byte* memory, int64_t bytes) override;
  void read(void* to, const std::byte* from, int64_t bytes) override;
  void write(std::byte* to, const void* from, int64_t bytes) override;
  void copy(std::byte* to, const std::byte* from, int64_t bytes) override;
  std::shared_ptr<WeightMemory> weight_memory() override { return weight_memory_; }
  int64_t work_bytes(const ProgramDescription& program, const StepLimits& limits) const override;
  std::unique_ptr<BoundProgram> bind(const std::vector<std::unique_ptr<BoundNode>>& nodes,
                                     bool exact) override;

 private:
  const CpuKernels& kernels_;
  ThreadPool pool_;
  std::shared_ptr<WeightMemory> weight_memory_;
};

}  // namespace kvasir
