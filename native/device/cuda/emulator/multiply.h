#pragma once

#include <cstdint>

// The arithmetic of matrix instructions: the 16 products of a step, exact, are added in f64 in ascending k, then
// their sum to the f32 accumulator, rounded once. mma and wgmma give the same bits.
namespace kvasir::cuda::emulator {

constexpr int kStepK = 16;

// 16-bit numbers of a product's operands.
enum class Half : uint8_t { kBF16, kF16 };

void widen(Half half, const uint16_t* from, double* to, int count);

// d (rows,n) += a (rows,16) b (16,n). Rows are a multiple of 8, n too.
void multiply(float* d, const double* a, const double* b, int rows, int n);

}  // namespace kvasir::cuda::emulator
