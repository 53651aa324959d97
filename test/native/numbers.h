#pragma once

// f32, f16 and bf16 in plain code, through doubles: what conversions are compared with.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "types/dtype.h"

namespace kvasir::test {

constexpr DType kDTypes[] = {DType::kF32, DType::kF16, DType::kBF16};
constexpr const char* kFileNames[] = {"F32", "F16", "BF16"};

struct Format {
  int mantissa, least_exponent;
  double largest;
};

inline Format format_of(DType dtype) {
  if (dtype == DType::kF16) return {10, -14, 65504};
  if (dtype == DType::kBF16) return {7, -126, std::ldexp(255, 120)};
  return {23, -126, 3.4028234663852886e38};
}

inline double rounded(double x, DType dtype) {
  Format format = format_of(dtype);
  if (std::isnan(x) || std::isinf(x) || x == 0) return x;
  double unit = std::ldexp(1, std::max(std::ilogb(x), format.least_exponent) - format.mantissa);
  double result = std::nearbyint(x / unit) * unit;
  return std::abs(result) > format.largest ? std::copysign(INFINITY, x) : result;
}

inline double decoded(const std::byte* at, DType dtype) {
  if (dtype == DType::kF32) {
    float x;
    std::memcpy(&x, at, 4);
    return x;
  }
  uint16_t bits;
  std::memcpy(&bits, at, 2);
  int mantissa_bits = format_of(dtype).mantissa, exponent_bits = 15 - mantissa_bits;
  int exponent = bits >> mantissa_bits & ((1 << exponent_bits) - 1),
      mantissa = bits & ((1 << mantissa_bits) - 1);
  double sign = bits & 0x8000 ? -1 : 1;
  if (exponent == (1 << exponent_bits) - 1) return mantissa ? NAN : sign * INFINITY;
  int scale = std::max(exponent, 1) - ((1 << (exponent_bits - 1)) - 1) - mantissa_bits;
  return sign * std::ldexp(mantissa + (exponent ? 1 << mantissa_bits : 0), scale);
}

inline bool same(double a, double b) {
  return (std::isnan(a) && std::isnan(b)) || (a == b && std::signbit(a) == std::signbit(b));
}

}  // namespace kvasir::test
