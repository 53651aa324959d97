#include <algorithm>
#include <cstring>

#include "checkpoint/convert.h"
#include "checkpoint/pack.h"
#include "checkpoint/quantize.h"
#include "types/panel-blocks.h"

// Blocked types. Work is divided by tiles of 32 rows x 32 columns of f32, 4 KiB: each row of a tile is one block, whose
// bytes go to its lane of the panel in pieces of four. A last block of fewer columns is filled up with its first number,
// so that it has the scale of its own numbers.

namespace kvasir {
namespace {

template <class Stored>
void store(const Block& block, int64_t row, int64_t col, const Stored& value) {
  const int64_t index = col / kBlockColumns;
  if (block.target_stride == 0) {
    auto panel = reinterpret_cast<uint8_t*>(block.target);
    store_in_panel(value, panel + index * panel_block_bytes(kTypeOf<Stored>), block.lane + row);
  } else {
    const auto first = (col - block.col) / kBlockColumns;
    std::byte* to = block.target + row * block.target_stride + first * int64_t{sizeof value};
    std::memcpy(to, &value, sizeof value);
  }
}

// Blocks as they are. Row by row within a block, so that a panel's block is in the first-level cache.
template <class Stored>
bool move_blocks(const Block& block) {
  const std::byte* column = block.source;
  for (int64_t c = 0; c < block.cols; c += kBlockColumns, column += sizeof(Stored))
    for (int64_t row = 0; row < block.rows; ++row) {
      Stored value;
      std::memcpy(&value, column + row * block.source_stride, sizeof value);
      store(block, row, block.col + c, value);
    }
  return false;
}

template <DType from, class Stored>
struct BlockPacker {
  using Source = typename Element<from>::Type;
  using Tile = float[kPanelRows][kBlockColumns];

  static const Source* source(const Block& block, int64_t file_row) {
    return reinterpret_cast<const Source*>(block.source + file_row * block.source_stride);
  }

  static void read_rows(const Block& block, int64_t c, int64_t cols, Tile& tile) {
    for (int64_t row = 0; row < block.rows; ++row) {
      convert<from, DType::kF32>(source(block, row) + c, tile[row], cols);
      std::fill(tile[row] + cols, tile[row] + kBlockColumns, tile[row][0]);
    }
  }

  static void read_columns(const Block& block, int64_t c, int64_t cols, Tile& tile) {
    float column[kPanelRows];
    for (int64_t i = 0; i < kBlockColumns; ++i) {
      convert<from, DType::kF32>(source(block, c + (i < cols ? i : 0)), column, block.rows);
      for (int64_t row = 0; row < block.rows; ++row) tile[row][i] = column[row];
    }
  }

  template <bool transposed>
  static bool pack(const Block& block) {
    bool too_large = false;
    alignas(64) Tile tile;
    for (int64_t c = 0; c < block.cols; c += kBlockColumns) {
      const int64_t cols = std::min(kBlockColumns, block.cols - c);
      if constexpr (transposed) {
        read_columns(block, c, cols, tile);
      } else {
        read_rows(block, c, cols, tile);
      }
      for (int64_t row = 0; row < block.rows; ++row) {
        Stored value;
        too_large |= quantize(tile[row], 1, &value);
        store(block, row, block.col + c, value);
      }
    }
    return too_large;
  }
};

template <class Stored>
PackBlock choose(DType from, bool transposed) {
  if (from == kTypeOf<Stored>) return move_blocks<Stored>;
  if (from == DType::kF32)
    return transposed ? BlockPacker<DType::kF32, Stored>::template pack<true>
                      : BlockPacker<DType::kF32, Stored>::template pack<false>;
  if (from == DType::kF16)
    return transposed ? BlockPacker<DType::kF16, Stored>::template pack<true>
                      : BlockPacker<DType::kF16, Stored>::template pack<false>;
  return transposed ? BlockPacker<DType::kBF16, Stored>::template pack<true>
                    : BlockPacker<DType::kBF16, Stored>::template pack<false>;
}

template <class Stored>
void widen_row(const std::byte* data, Layout layout, int64_t cols, int64_t row, float* out) {
  const std::byte* start = layout == Layout::kPanels
                               ? data + row / kPanelRows * panel_bytes(kTypeOf<Stored>, cols)
                               : data + row * row_bytes(kTypeOf<Stored>, cols);
  for (int64_t c = 0; c < cols; c += kBlockColumns) {
    Stored block;
    const int64_t index = c / kBlockColumns;
    if (layout == Layout::kPanels) {
      auto panel = reinterpret_cast<const uint8_t*>(start);
      load_from_panel(panel + index * panel_block_bytes(kTypeOf<Stored>), row % kPanelRows, block);
    } else {
      std::memcpy(&block, start + index * int64_t{sizeof block}, sizeof block);
    }
    float numbers[kBlockColumns];
    dequantize(&block, 1, numbers);
    std::copy_n(numbers, std::min(kBlockColumns, cols - c), out + c);
  }
}

}  // namespace

PackBlock pack_to_blocks(DType from, DType to, bool transposed) {
  return to == DType::kQ8 ? choose<Q8Block>(from, transposed) : choose<Q4Block>(from, transposed);
}

void widen_blocks(DType dtype, const std::byte* data, Layout layout, int64_t cols, int64_t row, float* out) {
  if (dtype == DType::kQ8) return widen_row<Q8Block>(data, layout, cols, row, out);
  widen_row<Q4Block>(data, layout, cols, row, out);
}

}  // namespace kvasir
