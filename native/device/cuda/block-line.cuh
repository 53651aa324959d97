#pragma once

// A row of a tile of blocks, types/tiles.h: 64 numbers, in shared or in device memory. Numbers come out as f32, each
// rounded once, as types/blocks.h says; kernels round them to the type they compute in, all alike.

#include "device/cuda/arithmetic.cuh"
#include "device/cuda/numbers.cuh"
#include "types/tiles.h"

namespace kvasir::cuda {

// For device code, which host functions are for constants in.
template <DType kType>
constexpr int kLineScaleBytes = static_cast<int>(tile_scale_bytes(kType));
template <DType kType>
constexpr int kLineBytes = static_cast<int>(tile_line_bytes(kType));
template <DType kType>
constexpr int kBlockTileBytes = static_cast<int>(tile_bytes(kType));

// block_tile_place(8 piece + i).
template <DType kType>
__host__ __device__ constexpr int place_in_line(int piece, int i) {
  if constexpr (kType == DType::kQ8) return 16 * (i / 2) + 2 * piece + i % 2;
  return 16 * (i / 2) + 8 * (piece / 4) + piece % 4 + 4 * (i % 2);
}
template <DType kType>
constexpr bool places_agree() {
  for (int c = 0; c < kTileBlockColumns; c++)
    if (place_in_line<kType>(c / 8, c % 8) != block_tile_place(kType, c)) return false;
  return true;
}
static_assert(places_agree<DType::kQ8>() && places_agree<DType::kQ4>());

constexpr uint32_t kEightMillion = 0x4b000000u;  // 2^23, whose low bits are integers
constexpr float kEightMillionFloat = 8388608.0f;

// `low` integers below 2^23.
__device__ __forceinline__ float float_of(uint32_t low) {
  return difference(__uint_as_float(kEightMillion | low), kEightMillionFloat);
}

template <DType kType>
struct LineScales;

template <>
struct LineScales<DType::kQ8> {
  float2 scales;  // of columns 0 to 31, and of 32 to 63

  __device__ __forceinline__ explicit LineScales(const char* line)
      : scales(unpack2<f16>(*reinterpret_cast<const uint32_t*>(line))) {}
  // Of a stored number of the half.
  __device__ __forceinline__ float number(int half, uint32_t stored) const {
    const float q = difference(__uint_as_float(kEightMillion | stored), kEightMillionFloat + 128.0f);
    return product(half == 0 ? scales.x : scales.y, q);
  }
};

template <>
struct LineScales<DType::kQ4> {
  float2 first, second;  // scale and min

  __device__ __forceinline__ explicit LineScales(const char* line)
      : first(unpack2<f16>(*reinterpret_cast<const uint32_t*>(line))),
        second(unpack2<f16>(*reinterpret_cast<const uint32_t*>(line + 4))) {}
  __device__ __forceinline__ float number(int half, uint32_t stored) const {
    // The product is exact: 11 bits times 4.
    return fmaf(half == 0 ? first.x : second.x, float_of(stored), half == 0 ? first.y : second.y);
  }
};

// What lane 4n + t of a warp multiplies with mma: its numbers of row n.
template <DType kType>
struct LanePart {
  static constexpr int kWords = kType == DType::kQ8 ? 4 : 2;
  LineScales<kType> scales;
  uint32_t words[kWords];

  __device__ __forceinline__ LanePart(const char* line, int t) : scales(line) {
    const char* from = line + kLineScaleBytes<kType> + t * kWords * 4;
#pragma unroll
    for (int i = 0; i < kWords; i++) words[i] = *reinterpret_cast<const uint32_t*>(from + i * 4);
  }

  // Columns 16 step + 2t, + 1, + 8 and + 9 as mma's b, in T.
  template <class T>
  __device__ __forceinline__ void operand(int step, uint32_t (&b)[2]) const {
#pragma unroll
    for (int upper = 0; upper < 2; upper++) {
      uint32_t low, high;
      if constexpr (kType == DType::kQ8) {
        const uint32_t pair = words[step] >> (16 * upper);
        low = pair & 0xffu, high = pair >> 8 & 0xffu;
      } else {
        const uint32_t pair = words[step / 2] >> (8 * (step % 2) + 4 * upper) & 0x000f000fu;
        low = pair & 0xfu, high = pair >> 16;
      }
      b[upper] = pack2<T>(scales.number(step / 2, low), scales.number(step / 2, high));
    }
  }
};

// Columns 8 piece to 8 piece + 7 of the line.
template <DType kType>
__device__ __forceinline__ void load_eight(const char* line, int piece, float (&x)[8]) {
  const LineScales<kType> scales(line);
  const auto* bytes = reinterpret_cast<const uint8_t*>(line + kLineScaleBytes<kType>);
  const int half = piece / 4;
#pragma unroll
  for (int i = 0; i < 8; i++) {
    const int place = place_in_line<kType>(piece, i);
    const uint32_t stored = kType == DType::kQ8 ? bytes[place] : bytes[place / 2] >> (place % 2 * 4) & 0xfu;
    x[i] = scales.number(half, stored);
  }
}

// f(std::integral_constant of the type), for blocked types.
template <class F>
auto with_block_type(DType dtype, F f) {
  if (dtype == DType::kQ8) return f(std::integral_constant<DType, DType::kQ8>{});
  return f(std::integral_constant<DType, DType::kQ4>{});
}

}  // namespace kvasir::cuda
