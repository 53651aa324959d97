#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <type_traits>
#include <utility>

#ifdef KVASIR_CUDA_EMULATED
#include "device/cuda/emulator/launch.h"
#else
#include "device/cuda/runtime-handles.h"
#endif

#include "device/cuda/execution.h"
#include "device/cuda/runtime.h"
#include "types/error.h"

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

template <class T>
T* dynamic_shared() {
  return reinterpret_cast<T*>(emulator::dynamic_shared());
}

#else

inline void check_launch(cudaError_t error) {
  if (error != cudaSuccess)
    throw Error(ErrorKind::kDevice, std::string("launch: ") + cudaGetErrorString(error));
}

// A block gets more than 48 KiB, static arrays counted, only where the kernel was told so on that device.
inline void allow_shared_bytes(const void* kernel, int device, int64_t bytes) {
  constexpr int64_t kAlwaysAllowed = 32 << 10;  // leaves 16 KiB for static arrays
  if (bytes <= kAlwaysAllowed) return;
  static std::mutex mutex;
  static std::map<std::pair<const void*, int>, int64_t>& allowed =
      *new std::map<std::pair<const void*, int>, int64_t>;  // outlives threads that launch at exit
  std::lock_guard lock(mutex);
  int64_t& most = allowed[{kernel, device}];
  if (bytes <= most) return;
  check_launch(
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes)));
  most = bytes;
}

// Asks e.stream to run `kernel`; returns before it is done. Throws Error(kDevice).
template <class... P>
void launch(Execution& e, void (*kernel)(P...), LaunchShape shape, std::type_identity_t<P>... arguments) {
  check_launch(cudaSetDevice(e.stream.device()));
  const void* function = reinterpret_cast<const void*>(kernel);
  allow_shared_bytes(function, e.stream.device(), shape.shared_bytes);
  cudaLaunchAttribute overlap{};
  overlap.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  overlap.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = shape.grid;
  config.blockDim = shape.block;
  config.dynamicSmemBytes = static_cast<size_t>(shape.shared_bytes);
  config.stream = (*e.stream).stream;
  config.attrs = &overlap;
  config.numAttrs = e.overlap ? 1 : 0;
  void* pointers[sizeof...(P) + 1] = {&arguments..., nullptr};
  check_launch(cudaLaunchKernelExC(&config, function, pointers));
}

// The block's dynamic shared memory.
template <class T>
__device__ __forceinline__ T* dynamic_shared() {
  extern __shared__ __align__(1024) unsigned char dynamic_shared_bytes[];
  return reinterpret_cast<T*>(dynamic_shared_bytes);
}

#endif

}  // namespace kvasir::cuda
