#include "device/cuda/emulator/multiply.h"

#include <cstring>

// Products of 16-bit numbers are exact in f64, so fused or not makes no difference here but in time.
#pragma GCC optimize("fp-contract=fast")

namespace kvasir::cuda::emulator {

namespace {

#if defined(__AVX512F__)
constexpr int kLanes = 8, kRows = 8;
#elif defined(__AVX__)
constexpr int kLanes = 4, kRows = 4;
#else
constexpr int kLanes = 2, kRows = 2;
#endif
constexpr int kCols = 8, kVectors = kCols / kLanes;

using Vector = double __attribute__((vector_size(kLanes * 8)));
using Floats = float __attribute__((vector_size(kLanes * 4)));

// kRows x kCols of d: all sums in registers.
inline void multiply_tile(float* d, const double* a, const double* b, int n) {
  Vector sums[kRows][kVectors] = {};
  for (int k = 0; k < kStepK; ++k) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      Vector row;
      std::memcpy(&row, b + k * n + v * kLanes, sizeof row);
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) sums[r][v] += a[r * kStepK + k] * row;
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      Floats old;
      float* place = d + r * n + v * kLanes;
      std::memcpy(&old, place, sizeof old);
      old = __builtin_convertvector(__builtin_convertvector(old, Vector) + sums[r][v], Floats);
      std::memcpy(place, &old, sizeof old);
    }
  }
}

}  // namespace

void multiply(float* d, const double* a, const double* b, int rows, int n) {
  for (int col = 0; col < n; col += kCols) {
    for (int row = 0; row < rows; row += kRows) {
      multiply_tile(d + row * n + col, a + row * kStepK, b + col, n);
    }
  }
}

}  // namespace kvasir::cuda::emulator
