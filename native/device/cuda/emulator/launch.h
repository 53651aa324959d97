#pragma once

#include <functional>

#include "device/cuda/emulator/block.h"
#include "device/cuda/execution.h"

namespace kvasir::cuda::emulator {

// The stream will call `call` in every thread of the grid. `kernel` is for its name. Throws Error(kDevice) for a
// grid that no device would launch.
void enqueue(Execution& e, const Grid& grid, const void* kernel, std::function<void()> call);

inline std::byte* dynamic_shared() { return current().block->arena; }

}  // namespace kvasir::cuda::emulator
