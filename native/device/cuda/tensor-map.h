#pragma once

#include <cstdint>

#include "types/dtype.h"

namespace kvasir::cuda {

// A matrix in device memory as the copy engine sees it; kernels take it as `const __grid_constant__ TensorMap`.
struct alignas(64) TensorMap {
  unsigned char bytes[128];
};

namespace ptx {

// A matrix (rows, cols) whose boxes copy_tensor copies, 128-byte swizzled. `base` and row_stride_bytes are
// multiples of 16, box_cols of 128 bytes at most, box_rows 256 at most. Throws Error(kDevice).
TensorMap tensor_map(DType dtype, const void* base, int64_t rows, int64_t cols, int64_t row_stride_bytes,
                     int box_rows, int box_cols);

}  // namespace ptx

}  // namespace kvasir::cuda
