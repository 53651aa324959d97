#pragma once

#include <cstdint>
#include <cstring>

#include "device/cuda/emulator/half.h"

// The arithmetic of matrix instructions: the 16 products of a step, exact, are added in f64 in ascending k, then
// their sum to the f32 accumulator, rounded once. mma and wgmma give the same bits.
namespace kvasir::cuda::emulator {

constexpr int kStepK = 16;

// 16-bit numbers of a product's operands.
enum class Half : uint8_t { kBF16, kF16 };

// 8 numbers to f64.
inline void widen8(Half half, const uint16_t* from, double* to) {
  using Shorts = uint16_t __attribute__((vector_size(16)));
  using Words = uint32_t __attribute__((vector_size(32)));
  using Floats = float __attribute__((vector_size(32)));
  using Doubles = double __attribute__((vector_size(64)));
  Shorts shorts;
  std::memcpy(&shorts, from, sizeof shorts);
  Floats floats;
  if (half == Half::kBF16) {
    floats = reinterpret_cast<Floats>(__builtin_convertvector(shorts, Words) << 16);
  } else {
#ifdef __F16C__
    floats = __builtin_ia32_vcvtph2ps256(reinterpret_cast<short __attribute__((vector_size(16)))>(shorts));
#else
    for (int i = 0; i < 8; ++i) floats[i] = float_of_f16(shorts[i]);
#endif
  }
  const Doubles doubles = __builtin_convertvector(floats, Doubles);
  std::memcpy(to, &doubles, sizeof doubles);
}

// `count` is a multiple of 8.
inline void widen(Half half, const uint16_t* from, double* to, int count) {
  for (int i = 0; i < count; i += 8) widen8(half, from + i, to + i);
}

// d (rows,n) += a (rows,16) b (16,n). Rows are a multiple of 8, n too.
void multiply(float* d, const double* a, const double* b, int rows, int n);

}  // namespace kvasir::cuda::emulator
