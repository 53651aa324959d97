#pragma once

#include <cuda_runtime_api.h>

#include "device/cuda/runtime.h"

// What stands behind runtime.h's classes on devices.
namespace kvasir::cuda {

struct Stream::Implementation {
  cudaStream_t stream = nullptr;
};

struct Event::Implementation {
  cudaEvent_t event = nullptr;
};

struct Graph::Implementation {
  cudaGraphExec_t graph = nullptr;
};

}  // namespace kvasir::cuda
