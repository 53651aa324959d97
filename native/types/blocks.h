#pragma once

#include <cstdint>

#include "types/dtype.h"

namespace kvasir {

// Numbers of a row that share a scale in kQ8 and kQ4; whatever fills up the last block of a row counts for
// nothing.
constexpr int64_t kBlockColumns = 32;

// A row of a blocked type, as files and Layout::kRows have it: one of these after another. They are GGUF's Q8_0 and
// Q4_1 bit for bit.

// number i = scale * q[i]
struct Q8Block {
  uint16_t scale;  // f16
  int8_t q[kBlockColumns];
};

// number i = scale * u + min, u being the low half of q[i], or the high half of q[i - 16]: two products in f32, rounded
// once each.
struct Q4Block {
  uint16_t scale, min;  // f16
  uint8_t q[kBlockColumns / 2];
};

constexpr int64_t block_count(int64_t cols) { return (cols + kBlockColumns - 1) / kBlockColumns; }

constexpr int64_t block_bytes(DType dtype) {
  return dtype == DType::kQ8 ? int64_t{sizeof(Q8Block)} : int64_t{sizeof(Q4Block)};
}

// Bytes of `cols` numbers in one row, which begin with a block.
constexpr int64_t row_bytes(DType dtype, int64_t cols) {
  return is_blocked(dtype) ? block_count(cols) * block_bytes(dtype) : cols * size_of(dtype);
}

}  // namespace kvasir
