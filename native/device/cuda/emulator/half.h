#pragma once

#include <cstdint>
#include <cstring>

// 16-bit floating-point numbers on the CPU, with a device's results: nearest even, NaN becomes 0x7fff.
namespace kvasir::cuda::emulator {

inline uint32_t bits_of(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits;
}
inline float float_of_bits(uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

inline float float_of_bf16(uint16_t x) { return float_of_bits(static_cast<uint32_t>(x) << 16); }

inline uint16_t bf16_of(float x) {
  const uint32_t bits = bits_of(x);
  if ((bits & 0x7fffffff) > 0x7f800000) return 0x7fff;
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

#ifdef __F16C__

// The instructions themselves: g++ turns conversions of _Float16 into calls of slow functions.
inline float float_of_f16(uint16_t x) {
  using Shorts = short __attribute__((vector_size(16)));
  return __builtin_ia32_vcvtph2ps(Shorts{static_cast<short>(x)})[0];
}
inline uint16_t f16_of(float x) {
  using Floats = float __attribute__((vector_size(16)));
  return x != x ? 0x7fff : static_cast<uint16_t>(__builtin_ia32_vcvtps2ph(Floats{x}, 0)[0]);
}

#else

inline float float_of_f16(uint16_t x) {
  const uint32_t sign = static_cast<uint32_t>(x & 0x8000) << 16, magnitude = x & 0x7fff;
  if (magnitude >= 0x7c00) return float_of_bits(sign | 0x7f800000 | (magnitude & 0x3ff) << 13);
  if (magnitude >= 0x400) return float_of_bits(sign | ((magnitude << 13) + (112u << 23)));
  const float subnormal = static_cast<float>(magnitude) * 0x1p-24f;
  return float_of_bits(sign | bits_of(subnormal));
}
inline uint16_t f16_of(float x) {
  const uint32_t bits = bits_of(x), sign = bits >> 16 & 0x8000, magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return 0x7fff;
  if (magnitude >= 0x477ff000) return static_cast<uint16_t>(sign | 0x7c00);  // 65520 and more
  if (magnitude < 0x38800000) {
    // Below 2^-14: adding 0.5 leaves the number in units of 2^-24, rounded, in the low bits.
    const float shifted = float_of_bits(magnitude) + 0.5f;
    return static_cast<uint16_t>(sign | (bits_of(shifted) - bits_of(0.5f)));
  }
  const uint32_t rounded = magnitude + 0xfff + (magnitude >> 13 & 1);
  return static_cast<uint16_t>(sign | (rounded - (112u << 23)) >> 13);
}

#endif

}  // namespace kvasir::cuda::emulator
