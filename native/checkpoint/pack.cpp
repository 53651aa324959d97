#include "checkpoint/pack.h"

#include <algorithm>
#include <cstring>

#include "checkpoint/convert.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

// Work is divided by tiles of 32 rows x 64 columns (8 KiB at most): each row of the file's block is converted
// into the tile in one go, which reads whole cache lines whatever the rows' distance is, and the tile is
// transposed into the panel out of L1. Transposition works in units of 32 bits: one f32, or two neighbouring
// 16-bit columns, which is what bf16 panels hold; f16 panels are split from that once more.
//
// Tiles of CUDA's layout hold rows, so that a file's rows are only cut into lines of 128 bytes, whose 16-byte
// pieces change places. A transposed file's columns are scattered over a tile, 8 KiB, in L1.

namespace kvasir {
namespace {

constexpr int64_t kTileCols = 64;

// out[u][row] = tile[row][u] for units u below `units`; out has kPanelRows units a row.
void transpose_tile(const std::byte* tile, int64_t tile_stride, int64_t units, std::byte* out) {
  constexpr int64_t kOutStride = kPanelRows * 4;
  int64_t u = 0;
#if defined(__SSE2__)
  auto load = [&](int64_t row, int64_t unit) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(tile + row * tile_stride + unit * 4));
  };
  for (; u + 4 <= units; u += 4) {
    for (int64_t row = 0; row < kPanelRows; row += 4) {
      __m128i a = load(row, u), b = load(row + 1, u), c = load(row + 2, u), d = load(row + 3, u);
      __m128i ab_low = _mm_unpacklo_epi32(a, b), ab_high = _mm_unpackhi_epi32(a, b);
      __m128i cd_low = _mm_unpacklo_epi32(c, d), cd_high = _mm_unpackhi_epi32(c, d);
      auto store = [&](int64_t i, __m128i line) {
        _mm_storeu_si128(reinterpret_cast<__m128i*>(out + (u + i) * kOutStride + row * 4), line);
      };
      store(0, _mm_unpacklo_epi64(ab_low, cd_low));
      store(1, _mm_unpackhi_epi64(ab_low, cd_low));
      store(2, _mm_unpacklo_epi64(ab_high, cd_high));
      store(3, _mm_unpackhi_epi64(ab_high, cd_high));
    }
  }
#endif
  for (; u < units; ++u)
    for (int64_t row = 0; row < kPanelRows; ++row)
      std::memcpy(out + u * kOutStride + row * 4, tile + row * tile_stride + u * 4, 4);
}

template <DType from, DType to>
struct Packer {
  using Source = typename Element<from>::Type;
  using Target = typename Element<to>::Type;

  static const Source* source(const Block& block, int64_t file_row) {
    return reinterpret_cast<const Source*>(block.source + file_row * block.source_stride);
  }
  static Target* target(const Block& block) { return reinterpret_cast<Target*>(block.target); }
  static Target* target_row(const Block& block, int64_t row) {
    return reinterpret_cast<Target*>(block.target + row * block.target_stride);
  }

  static bool rows_to_rows(const Block& block) {
    bool overflow = false;
    for (int64_t row = 0; row < block.rows; ++row)
      overflow |= convert<from, to>(source(block, row), target_row(block, row), block.cols);
    return overflow;
  }

  static bool columns_to_rows(const Block& block) {
    bool overflow = false;
    Target column[kPanelRows];
    for (int64_t c = 0; c < block.cols; ++c) {
      overflow |= convert<from, to>(source(block, c), column, block.rows);
      for (int64_t row = 0; row < block.rows; ++row) target_row(block, row)[c] = column[row];
    }
    return overflow;
  }

  static bool rows_to_panel(const Block& block) {
    bool overflow = false;
    alignas(64) Target tile[kPanelRows][kTileCols];
    for (int64_t c = 0; c < block.cols; c += kTileCols) {
      int64_t cols = std::min(kTileCols, block.cols - c);
      for (int64_t row = 0; row < block.rows; ++row) {
        overflow |= convert<from, to>(source(block, row) + c, tile[row], cols);
        if (cols % 2 != 0) tile[row][cols] = 0;
      }
      if (block.rows == kPanelRows) {
        store_tile(tile, cols, target(block) + panel_index(to, 0, 0, block.col + c));
      } else {
        for (int64_t row = 0; row < block.rows; ++row)
          for (int64_t i = 0; i < cols; ++i)
            target(block)[panel_index(to, 0, block.lane + row, block.col + c + i)] = tile[row][i];
      }
    }
    return overflow;
  }

  static void store_tile(const Target (&tile)[kPanelRows][kTileCols], int64_t cols, Target* out) {
    auto bytes = reinterpret_cast<const std::byte*>(tile);
    int64_t units = to == DType::kF32 ? cols : (cols + 1) / 2;
    if constexpr (to != DType::kF16) {
      transpose_tile(bytes, sizeof tile[0], units, reinterpret_cast<std::byte*>(out));
    } else {
      alignas(64) Target pairs[kTileCols / 2][2 * kPanelRows];
      transpose_tile(bytes, sizeof tile[0], units, reinterpret_cast<std::byte*>(pairs));
      for (int64_t col = 0; col < cols; col += 2, out += 2 * kPanelRows) {
        const Target* pair = pairs[col / 2];
        for (int64_t row = 0; row < kPanelRows; ++row) out[row] = pair[2 * row];
        if (col + 1 == cols) break;
        for (int64_t row = 0; row < kPanelRows; ++row) out[kPanelRows + row] = pair[2 * row + 1];
      }
    }
  }

  static bool columns_to_panel(const Block& block) {
    return block.rows == kPanelRows ? columns_to_lanes(block, kPanelRows)
                                    : columns_to_lanes(block, block.rows);
  }

  // `rows` is a constant for the compiler where the panel is full.
  [[gnu::always_inline]] static inline bool columns_to_lanes(const Block& block, int64_t rows) {
    bool overflow = false;
    if constexpr (to != DType::kBF16) {
      Target* out = target(block) + block.col * kPanelRows + block.lane;
      for (int64_t c = 0; c < block.cols; ++c, out += kPanelRows)
        overflow |= convert<from, to>(source(block, c), out, rows);
    } else {
      Target* out = target(block) + block.col * kPanelRows + 2 * block.lane;
      for (int64_t c = 0; c < block.cols; c += 2, out += 2 * kPanelRows) {
        Target even[kPanelRows], odd[kPanelRows] = {};
        overflow |= convert<from, to>(source(block, c), even, rows);
        if (c + 1 < block.cols) overflow |= convert<from, to>(source(block, c + 1), odd, rows);
        for (int64_t row = 0; row < rows; ++row) out[2 * row] = even[row], out[2 * row + 1] = odd[row];
      }
    }
    return overflow;
  }

  // Where a 16-byte piece of a block's row begins in its tile, counted from the block's first line.
  static int64_t tile_place(const Block& block, int64_t row, int64_t piece) {
    return row * kTileRowBytes + (piece ^ ((block.lane + row) & 7)) * 16;
  }

  static bool rows_to_tiles(const Block& block) {
    constexpr int64_t kCols = tile_cols(to);
    bool overflow = false;
    alignas(64) Target line[kCols];
    for (int64_t row = 0; row < block.rows; ++row) {
      std::byte* tile = block.target;
      for (int64_t c = 0; c < block.cols; c += kCols, tile += block.target_stride) {
        int64_t cols = std::min(kCols, block.cols - c);
        overflow |= convert<from, to>(source(block, row) + c, line, cols);
        std::fill(line + cols, line + kCols, Target{});
        for (int64_t piece = 0; piece < kTileRowBytes / 16; ++piece)
          std::memcpy(tile + tile_place(block, row, piece), line + piece * (16 / sizeof(Target)), 16);
      }
    }
    return overflow;
  }

  static bool columns_to_tiles(const Block& block) {
    constexpr int64_t kCols = tile_cols(to), kPieceCols = 16 / sizeof(Target);
    bool overflow = false;
    Target column[kTileRows];
    for (int64_t c = 0; c < round_up_to_line(block.cols); ++c) {
      std::byte* tile = block.target + c / kCols * block.target_stride;
      if (c < block.cols) {
        overflow |= convert<from, to>(source(block, c), column, block.rows);
      } else {
        std::fill(column, column + block.rows, Target{});
      }
      int64_t piece = c % kCols / kPieceCols, place = c % kPieceCols;
      for (int64_t row = 0; row < block.rows; ++row)
        reinterpret_cast<Target*>(tile + tile_place(block, row, piece))[place] = column[row];
    }
    return overflow;
  }

  static int64_t round_up_to_line(int64_t cols) { return col_tiles(to, cols) * tile_cols(to); }

  static PackBlock choose(Layout layout, bool transposed) {
    if (layout == Layout::kTiles) return transposed ? columns_to_tiles : rows_to_tiles;
    if (layout == Layout::kPanels) return transposed ? columns_to_panel : rows_to_panel;
    return transposed ? columns_to_rows : rows_to_rows;
  }
};

template <DType from>
PackBlock choose(DType to, Layout layout, bool transposed) {
  if (to == DType::kF32) return Packer<from, DType::kF32>::choose(layout, transposed);
  if (to == DType::kF16) return Packer<from, DType::kF16>::choose(layout, transposed);
  return Packer<from, DType::kBF16>::choose(layout, transposed);
}

}  // namespace

PackBlock pack_block(DType from, DType to, Layout layout, bool transposed) {
  if (is_blocked(to)) return pack_to_blocks(from, to, layout, transposed);
  if (from == DType::kF32) return choose<DType::kF32>(to, layout, transposed);
  if (from == DType::kF16) return choose<DType::kF16>(to, layout, transposed);
  return choose<DType::kBF16>(to, layout, transposed);
}

void widen(DType dtype, const std::byte* source, float* target, int64_t count) {
  if (dtype == DType::kF32) {
    convert<DType::kF32, DType::kF32>(reinterpret_cast<const float*>(source), target, count);
  } else if (dtype == DType::kF16) {
    convert<DType::kF16, DType::kF32>(reinterpret_cast<const uint16_t*>(source), target, count);
  } else {
    convert<DType::kBF16, DType::kF32>(reinterpret_cast<const uint16_t*>(source), target, count);
  }
}

}  // namespace kvasir
