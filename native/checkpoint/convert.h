#pragma once

// Numbers from one floating-point type to another, element by element, in loops that the compiler turns into
// vector code for any instruction set. 16-bit types are held as their bits (uint16_t). Widening is exact;
// narrowing rounds to the nearest, ties to even, through f32 alone, so once. NaN stays NaN, infinities stay.
// Independent of the processor's flush-to-zero mode: no intermediate result is a subnormal f32.

#include <bit>
#include <cstdint>

#include "types/dtype.h"

namespace kvasir {

// Element<dtype>::Type holds a number; to_f32 and from_f32 convert it; kFirstOverflow is the bits of the
// smallest f32 that is rounded to infinity.
template <DType dtype>
struct Element;

// Bits are signed here: the baseline instruction set compares signed integers alone.
inline int32_t bits_of_f32(float x) { return std::bit_cast<int32_t>(x); }
inline float f32_of_bits(int32_t bits) { return std::bit_cast<float>(bits); }
constexpr int32_t kInfinityBits = 0x7F800000;

// `yes` or `no` by masks. (With a conditional operator the compiler moves the floating-point addition that
// makes one of them into a branch, and then cannot vectorise the loop: three to five times slower.)
inline int32_t select(bool condition, int32_t yes, int32_t no) {
  int32_t mask = -static_cast<int32_t>(condition);
  return (yes & mask) | (no & ~mask);
}

template <>
struct Element<DType::kF32> {
  using Type = float;
  static float to_f32(float x) { return x; }
  static float from_f32(float x) { return x; }
  static constexpr int32_t kFirstOverflow = kInfinityBits;
};

template <>
struct Element<DType::kBF16> {
  using Type = uint16_t;

  static float to_f32(uint16_t h) {
    return f32_of_bits(static_cast<int32_t>(static_cast<uint32_t>(h) << 16));
  }

  static uint16_t from_f32(float x) {
    int32_t bits = bits_of_f32(x), magnitude = bits & 0x7FFFFFFF;
    const uint32_t last = static_cast<uint32_t>(bits) >> 16 & 1;  // unsigned: the sum of some NaN overflows
    int32_t rounded = static_cast<int32_t>(static_cast<uint32_t>(magnitude) + 0x7FFF + last);
    int32_t half =
        magnitude > kInfinityBits ? magnitude | 0x00400000 : rounded;  // NaN must not become infinity
    return static_cast<uint16_t>((half >> 16) | (bits >> 16 & 0x8000));
  }

  static constexpr int32_t kFirstOverflow = 0x7F7F8000;
};

template <>
struct Element<DType::kF16> {
  using Type = uint16_t;

  static float to_f32(uint16_t h) {
    int32_t magnitude = (h & 0x7FFF) << 13;
    int32_t normal = magnitude + (112 << 23);  // the exponent's bias changes by 127 - 15
    // A subnormal is its bits times 2^-24: laid into the mantissa of 2^-14, which is then taken off.
    int32_t small = bits_of_f32(f32_of_bits(magnitude + (113 << 23)) - f32_of_bits(113 << 23));
    int32_t bits = select(magnitude < (1 << 23), small, normal);
    bits += magnitude >= (31 << 23) ? 112 << 23 : 0;  // infinity and NaN: exponent 31 becomes 255
    return f32_of_bits(bits | static_cast<int32_t>((h & 0x8000u) << 16));
  }

  static uint16_t from_f32(float x) {
    int32_t bits = bits_of_f32(x), magnitude = bits & 0x7FFFFFFF;
    int32_t normal = (magnitude - (112 << 23) + 0xFFF + (magnitude >> 13 & 1)) >> 13;
    // Below 2^-14 results are multiples of 2^-24, the last place of 0.5: the addition rounds there.
    int32_t small = bits_of_f32(f32_of_bits(magnitude) + 0.5f) - bits_of_f32(0.5f);
    int32_t half = select(magnitude < (113 << 23), small, normal);
    half = select(magnitude >= (143 << 23), 0x7C00, half);                               // 2^16 and more
    half = select(magnitude > kInfinityBits, 0x7E00 | (magnitude >> 13 & 0x3FF), half);  // NaN
    return static_cast<uint16_t>(half | (bits >> 16 & 0x8000));
  }

  static constexpr int32_t kFirstOverflow = 0x477FF000;  // 65520
};

// Converts `count` elements. Returns whether a finite number was too large for the target and became
// infinite.
template <DType from, DType to>
inline bool convert(const typename Element<from>::Type* source, typename Element<to>::Type* target,
                    int64_t count) {
  int32_t overflows = 0;
  for (int64_t i = 0; i < count; ++i) {
    if constexpr (from == to) {
      target[i] = source[i];
    } else {
      float x = Element<from>::to_f32(source[i]);
      int32_t magnitude = bits_of_f32(x) & 0x7FFFFFFF;
      overflows |= (magnitude >= Element<to>::kFirstOverflow) & (magnitude < kInfinityBits);
      target[i] = Element<to>::from_f32(x);
    }
  }
  return overflows != 0;
}

}  // namespace kvasir
