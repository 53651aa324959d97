#pragma once

#include <memory>

#include "backends/cuda-device.h"
#include "checkpoint/weight-memory.h"

namespace kvasir::cuda {

// A device's memory for weights. Each staging buffer has a stream of its own, so that copies run beside each other.
std::shared_ptr<WeightMemory> weight_memory(std::shared_ptr<Device> device);

}  // namespace kvasir::cuda
