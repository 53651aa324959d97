#pragma once

#include <cstdint>

namespace kvasir {

// kQ8 and kQ4 hold a row in blocks of kBlockColumns numbers that share a scale: types/blocks.h.
enum class DType : uint8_t { kF32, kF16, kBF16, kI32, kQ8, kQ4 };

constexpr bool is_blocked(DType dtype) { return dtype == DType::kQ8 || dtype == DType::kQ4; }

// Bytes of one number; 0 for blocked types, whose numbers have no place of their own.
constexpr int64_t size_of(DType dtype) {
  if (is_blocked(dtype)) return 0;
  return dtype == DType::kF32 || dtype == DType::kI32 ? 4 : 2;
}

constexpr const char* name_of(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return "f32";
    case DType::kF16:
      return "f16";
    case DType::kBF16:
      return "bf16";
    case DType::kI32:
      return "i32";
    case DType::kQ8:
      return "q8";
    case DType::kQ4:
      return "q4";
  }
  return "?";
}

}  // namespace kvasir
