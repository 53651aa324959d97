#pragma once

#ifdef KVASIR_CUDA_EMULATED
#include "device/cuda/emulator/launch.h"
#endif

namespace kvasir::cuda {

// The block's dynamic shared memory.
template <class T>
__device__ __forceinline__ T* dynamic_shared() {
#ifdef KVASIR_CUDA_EMULATED
  return reinterpret_cast<T*>(emulator::dynamic_shared());
#else
  extern __shared__ __align__(1024) unsigned char dynamic_shared_bytes[];
  return reinterpret_cast<T*>(dynamic_shared_bytes);
#endif
}

}  // namespace kvasir::cuda
