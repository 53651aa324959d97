#pragma once

namespace kvasir {

struct Execution;  // what a CPU kernel runs with: device/cpu/execution.h

namespace cuda {
struct Execution;  // what a CUDA kernel is launched with: device/cuda/execution.h
}

}  // namespace kvasir
