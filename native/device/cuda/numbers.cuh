#pragma once

#include <cstdint>
#include <type_traits>

#ifdef KVASIR_CUDA_EMULATED
#include "device/cuda/emulator/half.h"
#else
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#endif

#include "types/dtype.h"
#include "types/error.h"

namespace kvasir::cuda {

// 16-bit floating-point numbers as they lie in memory.
struct bf16 {
  uint16_t bits;
};
struct f16 {
  uint16_t bits;
};

__host__ __device__ __forceinline__ float to_float(float x) { return x; }

#ifdef KVASIR_CUDA_EMULATED
inline float to_float(bf16 x) { return emulator::float_of_bf16(x.bits); }
inline float to_float(f16 x) { return emulator::float_of_f16(x.bits); }
#else
__host__ __device__ __forceinline__ float to_float(bf16 x) {
  __nv_bfloat16_raw raw;
  raw.x = x.bits;
  return __bfloat162float(raw);
}
__host__ __device__ __forceinline__ float to_float(f16 x) {
  __half_raw raw;
  raw.x = x.bits;
  return __half2float(raw);
}
#endif

// To the nearest, ties to even; NaN stays NaN, what is too large becomes infinite.
template <class T>
__host__ __device__ __forceinline__ T from_float(float x) {
  if constexpr (std::is_same_v<T, float>) {
    return x;
#ifdef KVASIR_CUDA_EMULATED
  } else if constexpr (std::is_same_v<T, bf16>) {
    return {emulator::bf16_of(x)};
  } else {
    static_assert(std::is_same_v<T, f16>);
    return {emulator::f16_of(x)};
  }
#else
  } else if constexpr (std::is_same_v<T, bf16>) {
    return {static_cast<__nv_bfloat16_raw>(__float2bfloat16_rn(x)).x};
  } else {
    static_assert(std::is_same_v<T, f16>);
    return {static_cast<__half_raw>(__float2half_rn(x)).x};
  }
#endif
}

// Two 16-bit numbers in a register: `low` is the one at the lower address.
template <class T>
__host__ __device__ __forceinline__ uint32_t pack2(float low, float high) {
#ifdef __CUDA_ARCH__
  // One cvt instruction instead of two and a merge.
  if constexpr (std::is_same_v<T, bf16>) {
    const __nv_bfloat162_raw raw = __floats2bfloat162_rn(low, high);
    return raw.x | static_cast<uint32_t>(raw.y) << 16;
  } else {
    static_assert(std::is_same_v<T, f16>);
    const __half2_raw raw = __floats2half2_rn(low, high);
    return raw.x | static_cast<uint32_t>(raw.y) << 16;
  }
#else
  return from_float<T>(low).bits | static_cast<uint32_t>(from_float<T>(high).bits) << 16;
#endif
}

template <class T>
__host__ __device__ __forceinline__ float2 unpack2(uint32_t pair) {
  return {to_float(T{static_cast<uint16_t>(pair & 0xffff)}), to_float(T{static_cast<uint16_t>(pair >> 16)})};
}

template <class T>
constexpr DType dtype_of = DType::kI32;
template <>
inline constexpr DType dtype_of<float> = DType::kF32;
template <>
inline constexpr DType dtype_of<bf16> = DType::kBF16;
template <>
inline constexpr DType dtype_of<f16> = DType::kF16;

// f(T{}) with the type that a program's dtype names. Builds for sanitizers leave f16 out, which differs from bf16 in
// conversions alone: half of what there is to compile.
template <class F>
auto with_half_type(DType dtype, F f) {
  if (dtype == DType::kBF16) return f(bf16{});
#ifndef KVASIR_WITHOUT_F16
  if (dtype == DType::kF16) return f(f16{});
#endif
  throw Error(ErrorKind::kInternal,
              std::string("no CUDA kernel for 16-bit numbers of type ") + name_of(dtype));
}

template <class F>
auto with_type(DType dtype, F f) {
  if (dtype == DType::kF32) return f(float{});
  return with_half_type(dtype, f);
}

}  // namespace kvasir::cuda
