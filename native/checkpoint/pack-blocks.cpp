#include <algorithm>
#include <cstring>
#include <type_traits>

#include "checkpoint/convert.h"
#include "checkpoint/pack.h"
#include "checkpoint/quantize.h"
#include "types/panel-blocks.h"
#include "types/tile-blocks.h"

// Blocked types. Work is divided by tiles of 32 rows x 32 columns of f32, 4 KiB: each row of a tile is one block, whose
// bytes go to its lane of the panel in pieces of four. A last block of fewer columns is filled up with its first number,
// so that it has the scale of its own numbers.

namespace kvasir {
namespace {

template <Layout layout, class Stored>
void store(const Block& block, int64_t row, int64_t col, const Stored& value) {
  constexpr DType kType = kTypeOf<Stored>;
  const int64_t first = (col - block.col) / kBlockColumns;  // of the rectangle's blocks
  if constexpr (layout == Layout::kPanels) {
    auto panel = reinterpret_cast<uint8_t*>(block.target);
    store_in_panel(value, panel + col / kBlockColumns * panel_block_bytes(kType), block.lane + row);
  } else if constexpr (layout == Layout::kTiles) {
    auto tile = reinterpret_cast<uint8_t*>(block.target + first / 2 * block.target_stride);
    store_in_line(value, tile + row * tile_line_bytes(kType), first % 2);
  } else {
    std::byte* to = block.target + row * block.target_stride + first * int64_t{sizeof value};
    std::memcpy(to, &value, sizeof value);
  }
}

// Where a tile's second block of columns does not exist, its numbers are 0.
template <Layout layout, class Stored>
void fill_last_tile(const Block& block) {
  if (layout != Layout::kTiles || block_count(block.cols) % 2 == 0) return;
  for (int64_t row = 0; row < block.rows; ++row)
    store<layout>(block, row, block.col + block_count(block.cols) * kBlockColumns, Stored{});
}

// Blocks as they are. Row by row within a block, so that a panel's block is in the first-level cache.
template <Layout layout, class Stored>
bool move_blocks(const Block& block) {
  const std::byte* column = block.source;
  for (int64_t c = 0; c < block.cols; c += kBlockColumns, column += sizeof(Stored))
    for (int64_t row = 0; row < block.rows; ++row) {
      Stored value;
      std::memcpy(&value, column + row * block.source_stride, sizeof value);
      store<layout>(block, row, block.col + c, value);
    }
  fill_last_tile<layout, Stored>(block);
  return false;
}

template <DType from, Layout layout, class Stored>
struct BlockPacker {
  using Source = typename Element<from>::Type;
  // As many rows as Placement packs in one go.
  using Tile = float[layout == Layout::kTiles ? kTileRows : kPanelRows][kBlockColumns];

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
    float column[std::extent_v<Tile>];
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
        store<layout>(block, row, block.col + c, value);
      }
    }
    fill_last_tile<layout, Stored>(block);
    return too_large;
  }
};

template <Layout layout, class Stored>
PackBlock choose(DType from, bool transposed) {
  if (from == kTypeOf<Stored>) return move_blocks<layout, Stored>;
  const auto packer = [&]<DType kFrom>() {
    using Packer = BlockPacker<kFrom, layout, Stored>;
    return transposed ? &Packer::template pack<true> : &Packer::template pack<false>;
  };
  if (from == DType::kF32) return packer.template operator()<DType::kF32>();
  if (from == DType::kF16) return packer.template operator()<DType::kF16>();
  return packer.template operator()<DType::kBF16>();
}

template <class Stored>
PackBlock choose(DType from, Layout layout, bool transposed) {
  if (layout == Layout::kPanels) return choose<Layout::kPanels, Stored>(from, transposed);
  if (layout == Layout::kTiles) return choose<Layout::kTiles, Stored>(from, transposed);
  return choose<Layout::kRows, Stored>(from, transposed);
}

// Block `index` of a row.
template <class Stored>
Stored block_of(const std::byte* data, Layout layout, int64_t cols, int64_t row, int64_t index) {
  constexpr DType kType = kTypeOf<Stored>;
  auto bytes = reinterpret_cast<const uint8_t*>(data);
  Stored block;
  if (layout == Layout::kPanels) {
    bytes += row / kPanelRows * panel_bytes(kType, cols) + index * panel_block_bytes(kType);
    load_from_panel(bytes, row % kPanelRows, block);
  } else if (layout == Layout::kTiles) {
    bytes += (row / kTileRows * col_tiles(kType, cols) + index / 2) * tile_bytes(kType);
    load_from_line(bytes + row % kTileRows * tile_line_bytes(kType), index % 2, block);
  } else {
    std::memcpy(&block, bytes + row * row_bytes(kType, cols) + index * int64_t{sizeof block}, sizeof block);
  }
  return block;
}

template <class Stored>
void widen_row(const std::byte* data, Layout layout, int64_t cols, int64_t row, float* out) {
  for (int64_t c = 0; c < cols; c += kBlockColumns) {
    const Stored block = block_of<Stored>(data, layout, cols, row, c / kBlockColumns);
    float numbers[kBlockColumns];
    dequantize(&block, 1, numbers);
    std::copy_n(numbers, std::min(kBlockColumns, cols - c), out + c);
  }
}

}  // namespace

PackBlock pack_to_blocks(DType from, DType to, Layout layout, bool transposed) {
  return to == DType::kQ8 ? choose<Q8Block>(from, layout, transposed)
                          : choose<Q4Block>(from, layout, transposed);
}

void widen_blocks(DType dtype, const std::byte* data, Layout layout, int64_t cols, int64_t row, float* out) {
  if (dtype == DType::kQ8) return widen_row<Q8Block>(data, layout, cols, row, out);
  widen_row<Q4Block>(data, layout, cols, row, out);
}

}  // namespace kvasir
