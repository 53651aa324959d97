#pragma once

// The one include of every .cuh: the CUDA language, from nvcc or from the emulator, and Kvasir's words for it.

#ifdef KVASIR_CUDA_EMULATED
#include "device/cuda/emulator/language.h"
#else
#include <cuda_runtime.h>
#endif

#include <cmath>
#include <cstddef>
#include <cstdint>

#include "device/cuda/execution.h"
#include "device/cuda/launch.h"
#include "device/cuda/numbers.cuh"
#include "device/cuda/ptx.cuh"
#include "device/cuda/reduce.cuh"
#include "device/cuda/shared.cuh"
