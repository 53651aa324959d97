#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backends/cuda-device.h"
#include "checkpoint/weight-memory.h"
#include "runtime/backend.h"

namespace kvasir {

// Runs programs on an NVIDIA GPU, or on its emulation.
class CudaBackend : public Backend {
 public:
  // `num_threads` processor threads load weights. Throws Error(kDevice) when the device cannot be used.
  CudaBackend(const cuda::Module& module, int index, int num_threads);

  cuda::Device& device() { return *device_; }

  const DeviceRules& rules() const override;
  ThreadPool& pool() override { return pool_; }
  std::byte* allocate(int64_t bytes) override { return device_->allocate(bytes); }
  void release(std::byte* memory, int64_t bytes) override { device_->release(memory, bytes); }
  void read(void* to, const std::byte* from, int64_t bytes) override { device_->read(to, from, bytes); }
  void write(std::byte* to, const void* from, int64_t bytes) override { device_->write(to, from, bytes); }
  void copy(std::byte* to, const std::byte* from, int64_t bytes) override { device_->copy(to, from, bytes); }
  std::shared_ptr<WeightMemory> weight_memory() override { return weight_memory_; }
  int64_t work_bytes(const ProgramDescription& program, const StepLimits& limits) const override;
  std::unique_ptr<BoundProgram> bind(const std::vector<std::unique_ptr<BoundNode>>& nodes,
                                     bool exact) override;

 private:
  std::shared_ptr<cuda::Device> device_;
  ThreadPool pool_;
  std::shared_ptr<WeightMemory> weight_memory_;
};

}  // namespace kvasir
