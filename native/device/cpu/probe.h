#pragma once

#include <cstdint>

#include "device/cpu/execution.h"

namespace kvasir {

// What a processor can do at most, measured beside every benchmark: figures from a shared machine mean nothing alone.

// Numbers that are multiplied: f32, pairs of bf16 and fours of bytes where the processor has instructions for them.
enum class Arithmetic { kF32, kBF16, kInt8 };

// Multiply-adds on registers, on every thread at once. `rounds` a thread; returns the operations done in all (a
// multiply-add is two).
using ProbeArithmeticKernel = int64_t(Execution&, Arithmetic, int64_t rounds);

// Reads `bytes` of memory once, each thread its own contiguous share. Returns a sum, so that nothing can be left out.
using ProbeReadKernel = uint64_t(Execution&, const void* data, int64_t bytes);

}  // namespace kvasir
