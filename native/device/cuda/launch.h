#pragma once

#include <cstdint>
#include <type_traits>

#ifdef KVASIR_CUDA_EMULATED
#include "device/cuda/emulator/launch.h"
#endif

#include "device/cuda/execution.h"

namespace kvasir::cuda {

struct LaunchShape {
  dim3 grid;
  dim3 block;
  int64_t shared_bytes = 0;  // dynamic, see dynamic_shared
};

#ifdef KVASIR_CUDA_EMULATED

template <class... P>
void launch(Execution& e, void (*kernel)(P...), LaunchShape shape, std::type_identity_t<P>... arguments) {
  emulator::enqueue(e, {shape.grid, shape.block, shape.shared_bytes}, reinterpret_cast<const void*>(kernel),
                    [kernel, arguments...] { kernel(arguments...); });
}

#else

// In launch.cpp: see launch. `arguments` point to the kernel's.
void launch_kernel(Execution& e, const void* kernel, const LaunchShape& shape, void** arguments);

// Asks e.stream to run `kernel`; returns before it is done. Throws Error(kDevice).
template <class... P>
void launch(Execution& e, void (*kernel)(P...), LaunchShape shape, std::type_identity_t<P>... arguments) {
  void* pointers[sizeof...(P) + 1] = {&arguments..., nullptr};
  launch_kernel(e, reinterpret_cast<const void*>(kernel), shape, pointers);
}

#endif

}  // namespace kvasir::cuda
