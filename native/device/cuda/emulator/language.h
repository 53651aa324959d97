#pragma once

// The CUDA language for an ordinary compiler. <memory> comes first: __noinline__ is a word in it.
#include <memory>

#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>
#include <type_traits>

#include "device/cuda/emulator/block.h"
#include "device/cuda/emulator/vectors.h"
#include "device/cuda/emulator/warp.h"

#define __global__
#define __device__
#define __host__
#define __constant__
#define __grid_constant__
#define __managed__
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))

// A block is on one OS thread. AddressSanitizer does not watch the ends of thread_local arrays; under it there is
// one worker.
#ifdef __SANITIZE_ADDRESS__
#define __shared__ static
#else
#define __shared__ static thread_local
#endif

#define threadIdx (::kvasir::cuda::emulator::current().thread_index)
#define blockIdx (::kvasir::cuda::emulator::current().block->index)
#define blockDim (::kvasir::cuda::emulator::current().block->size)
#define gridDim (::kvasir::cuda::emulator::current().block->grid_size)
constexpr int warpSize = 32;

#include "device/cuda/emulator/functions.h"
