#pragma once

// One row's block in a line of a tile, whose numbers lie as types/tiles.h says.

#include <cstring>

#include "types/blocks.h"
#include "types/tiles.h"

namespace kvasir {

// `half`: which of the line's two blocks.
inline void store_in_line(const Q8Block& block, uint8_t* line, int64_t half) {
  std::memcpy(line + 2 * half, &block.scale, 2);
  uint8_t* numbers = line + tile_scale_bytes(DType::kQ8);
  for (int64_t i = 0; i < kBlockColumns; i++)
    numbers[block_tile_place(DType::kQ8, half * kBlockColumns + i)] = static_cast<uint8_t>(block.q[i] + 128);
}

inline void load_from_line(const uint8_t* line, int64_t half, Q8Block& block) {
  std::memcpy(&block.scale, line + 2 * half, 2);
  const uint8_t* numbers = line + tile_scale_bytes(DType::kQ8);
  for (int64_t i = 0; i < kBlockColumns; i++)
    block.q[i] = static_cast<int8_t>(numbers[block_tile_place(DType::kQ8, half * kBlockColumns + i)] - 128);
}

inline void store_in_line(const Q4Block& block, uint8_t* line, int64_t half) {
  std::memcpy(line + 4 * half, &block.scale, 2);
  std::memcpy(line + 4 * half + 2, &block.min, 2);
  uint8_t* numbers = line + tile_scale_bytes(DType::kQ4);
  for (int64_t i = 0; i < kBlockColumns; i++) {
    constexpr int64_t kHalf = kBlockColumns / 2;
    const int u = i < kHalf ? block.q[i] & 15 : block.q[i - kHalf] >> 4;
    const int64_t place = block_tile_place(DType::kQ4, half * kBlockColumns + i);
    uint8_t& byte = numbers[place / 2];
    byte = static_cast<uint8_t>(place % 2 == 0 ? (byte & 0xf0) | u : (byte & 0x0f) | u << 4);
  }
}

inline void load_from_line(const uint8_t* line, int64_t half, Q4Block& block) {
  std::memcpy(&block.scale, line + 4 * half, 2);
  std::memcpy(&block.min, line + 4 * half + 2, 2);
  const uint8_t* numbers = line + tile_scale_bytes(DType::kQ4);
  std::memset(block.q, 0, sizeof block.q);
  for (int64_t i = 0; i < kBlockColumns; i++) {
    constexpr int64_t kHalf = kBlockColumns / 2;
    const int64_t place = block_tile_place(DType::kQ4, half * kBlockColumns + i);
    const int u = place % 2 == 0 ? numbers[place / 2] & 15 : numbers[place / 2] >> 4;
    uint8_t& byte = block.q[i % kHalf];
    byte = static_cast<uint8_t>(byte | (i < kHalf ? u : u << 4));
  }
}

}  // namespace kvasir
