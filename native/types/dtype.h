#pragma once

#include <cstdint>

namespace kvasir {

enum class DType : uint8_t { kF32, kF16, kBF16, kI32 };

constexpr int64_t size_of(DType dtype) { return dtype == DType::kF32 || dtype == DType::kI32 ? 4 : 2; }

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
  }
  return "?";
}

}  // namespace kvasir
