#include "backends/cuda.h"

#include "backends/cuda-program.h"
#include "backends/cuda-weight-memory.h"

namespace kvasir {

CudaBackend::CudaBackend(const cuda::Module& module, int index, int num_threads)
    : device_(std::make_shared<cuda::Device>(module, index)),
      pool_(num_threads),
      weight_memory_(cuda::weight_memory(device_)) {}

const DeviceRules& CudaBackend::rules() const {
  static const DeviceRules kRules = {Layout::kTiles,
                                     KeyLayout::kByPosition,
                                     {DType::kF32, DType::kF16, DType::kBF16},
                                     {DType::kF32, DType::kF16, DType::kBF16, DType::kQ8},
                                     true};
  return kRules;
}

int64_t CudaBackend::work_bytes(const ProgramDescription& program, const StepLimits& limits) const {
  return cuda::CudaProgram::work_bytes(program, limits);
}

std::unique_ptr<BoundProgram> CudaBackend::bind(const std::vector<std::unique_ptr<BoundNode>>& nodes,
                                                bool exact) {
  return std::make_unique<cuda::CudaProgram>(device_, nodes, exact);
}

}  // namespace kvasir
