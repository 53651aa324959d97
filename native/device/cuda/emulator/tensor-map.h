#pragma once

#include <cstdint>

#include "types/dtype.h"

namespace kvasir::cuda {

// A matrix in device memory as the copy engine sees it; kernels take it as `const __grid_constant__ TensorMap`.
struct alignas(64) TensorMap {
  const char* base;
  int64_t rows, cols, row_stride_bytes;
  int32_t box_rows, box_cols, element_bytes;
  uint32_t magic;  // what tensor_map made has kTensorMapMagic
  char unused[80];
};
static_assert(sizeof(TensorMap) == 128);

constexpr uint32_t kTensorMapMagic = 0x7e4507a9;

}  // namespace kvasir::cuda
