#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "backends/cuda-module.h"
#include "runtime/backend.h"

namespace kvasir::cuda {

// Launches one node, or two that were fused, for a step whose tables lie in the device's memory.
using Launch = std::function<void(const StepState&, Execution&)>;

// Binds nodes to kernels. A norm that only the linear layer after it reads becomes part of that layer in steps of
// few rows, where every block can afford to compute it for itself.
std::vector<Launch> bind_launches(const Module& module, const std::vector<std::unique_ptr<BoundNode>>& nodes);

// The scratch memory that a program's kernels take in turn.
int64_t scratch_bytes(const ProgramDescription& program, const StepLimits& limits);

}  // namespace kvasir::cuda
