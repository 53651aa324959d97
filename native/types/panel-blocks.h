#pragma once

// One row's block of a panel's block, whose pieces lie as types/panels.h says. Not inline, so that no instruction set's
// object takes another's.

#include <cstring>

#include "types/blocks.h"
#include "types/panels.h"

namespace kvasir {

template <class Stored>
constexpr DType kTypeOf = DType::kQ8;
template <>
inline constexpr DType kTypeOf<Q4Block> = DType::kQ4;

// Pieces of four bytes of a lane's block, in a panel.
constexpr int64_t kPieceStride = 4 * kPanelRows;

static inline void store_in_panel(const Q8Block& block, uint8_t* panel_block, int64_t lane) {
  std::memcpy(panel_block + 2 * lane, &block.scale, 2);
  uint8_t* piece = panel_block + panel_block_header(DType::kQ8) + 4 * lane;
  for (int64_t k = 0; k < kBlockColumns; k += 4, piece += kPieceStride) {
    uint32_t four;
    std::memcpy(&four, block.q + k, 4);
    four ^= 0x80808080;  // + 128
    std::memcpy(piece, &four, 4);
  }
}

static inline void store_in_panel(const Q4Block& block, uint8_t* panel_block, int64_t lane) {
  std::memcpy(panel_block + 2 * lane, &block.scale, 2);
  std::memcpy(panel_block + kPanelScaleBytes + 2 * lane, &block.min, 2);
  uint8_t* piece = panel_block + panel_block_header(DType::kQ4) + 4 * lane;
  for (int64_t k = 0; k < kBlockColumns / 2; k += 4, piece += kPieceStride)
    std::memcpy(piece, block.q + k, 4);
}

static inline void load_from_panel(const uint8_t* panel_block, int64_t lane, Q8Block& block) {
  std::memcpy(&block.scale, panel_block + 2 * lane, 2);
  const uint8_t* piece = panel_block + panel_block_header(DType::kQ8) + 4 * lane;
  for (int64_t k = 0; k < kBlockColumns; k += 4, piece += kPieceStride) {
    uint32_t four;
    std::memcpy(&four, piece, 4);
    four ^= 0x80808080;
    std::memcpy(block.q + k, &four, 4);
  }
}

static inline void load_from_panel(const uint8_t* panel_block, int64_t lane, Q4Block& block) {
  std::memcpy(&block.scale, panel_block + 2 * lane, 2);
  std::memcpy(&block.min, panel_block + kPanelScaleBytes + 2 * lane, 2);
  const uint8_t* piece = panel_block + panel_block_header(DType::kQ4) + 4 * lane;
  for (int64_t k = 0; k < kBlockColumns / 2; k += 4, piece += kPieceStride)
    std::memcpy(block.q + k, piece, 4);
}

}  // namespace kvasir
