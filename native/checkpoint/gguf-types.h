#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "types/dtype.h"

namespace kvasir {

// How numbers of one of GGUF's types lie in a file: blocks of `numbers` numbers in `bytes` bytes, along a row.
// https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
struct GgufType {
  uint32_t id;
  std::string_view name;
  int64_t numbers, bytes;
  // Blocks as f32, rounded as the format's formulas are in f32; null for types that are not dequantised here. The
  // numbers may take the blocks' own place, as long as each block begins where those of
  // the blocks before it end, or later.
  void (*dequantize)(const std::byte* blocks, int64_t count, float* out);
  // The type in which the numbers are kept where nothing else is asked for: kQ8, kQ4; kF32 for the rest.
  DType kept;
  // Blocks as the same numbers in blocks of `kept`, but for scales that f16 must round; returns whether one is too
  // large for it. Null: the numbers are dequantised and quantised anew.
  bool (*keep)(const std::byte* blocks, int64_t count, std::byte* out);
};

constexpr int64_t kMaxGgufBlock = 256;

// The type, or null.
const GgufType* gguf_type(uint32_t id);
const GgufType* gguf_type(std::string_view name);

}  // namespace kvasir
