#pragma once

// How layers with weights of one type are computed: the order in which x is packed, and the tiles by their height.

#include <utility>

#include "device/cpu/rows.h"
#include "kernels/linear/linear-blocks.cpu.h"
#include "kernels/linear/linear-pairs.cpu.h"
#include "kernels/linear/linear-tile.cpu.h"
#include "kernels/linear/linear.h"

namespace kvasir::KVASIR_ISA {

struct Range {
  int64_t begin, end;
  int64_t size() const { return end - begin; }
};

// Rows of x and some of their columns, which begin with a block, to their place in a tile of these rows.
using PackTile = void(const Linear&, Range rows, Range columns, std::byte* packed);

struct Form {
  MultiplyTile* const* multiply;  // by the number of rows less one
  PackTile* pack;
  bool packs_one;         // also a single row
  int64_t block_columns;  // of x, which is packed in whole blocks
  int64_t block_bytes;    // of one row
  // The most rows of a tile: where one is enough for all rows, and where there are more.
  int wide_rows, tile_rows;
  // The most rows with which a panel is read once, as a stream, and with which arithmetic takes less time than that.
  int stream_rows, memory_rows;

  int64_t row_bytes(int64_t K) const { return (K + block_columns - 1) / block_columns * block_bytes; }
};

static void pack_floats(const Linear& p, Range rows, Range columns, std::byte* to) {
  float* packed = reinterpret_cast<float*>(to);
  for (int64_t k = columns.begin; k < columns.end; k += kFloatColumns)
    for (int64_t m = rows.begin; m < rows.end; m++, packed += kFloatColumns) {
      const float* x = floats(p.x) + m * p.x_stride + k;
      const int64_t left = columns.end - k;
      for_each_vector(left < kFloatColumns ? left : kFloatColumns,
                      [&](int64_t c, auto lanes) { store(packed + c, load(x + c, lanes)); });
    }
}

// As pack_floats, each number as f32 that bf16 holds.
static void pack_rounded_floats(const Linear& p, Range rows, Range columns, std::byte* to) {
  float* packed = reinterpret_cast<float*>(to);
  for (int64_t k = columns.begin; k < columns.end; k += kFloatColumns)
    for (int64_t m = rows.begin; m < rows.end; m++, packed += kFloatColumns) {
      const float* x = floats(p.x) + m * p.x_stride + k;
      const int64_t left = columns.end - k;
      for (int64_t c = 0; c < kFloatColumns && c < left; c++) packed[c] = from_bf16(round_operand(x[c]));
    }
}

#if defined(__AVX512BF16__)

// As linear-pairs.cpu.h has it.
static void pack_pairs(const Linear& p, Range rows, Range columns, std::byte* to) {
  uint16_t* packed = reinterpret_cast<uint16_t*>(to);
  for (int64_t k = columns.begin; k < columns.end; k += kPairColumns)
    for (int64_t m = rows.begin; m < rows.end; m++, packed += kPairColumns) {
      const float* x = floats(p.x) + m * p.x_stride + k;
      const int64_t left = columns.end - k;
      if (left >= kPairColumns) {
        for (int64_t c = 0; c < kPairColumns; c++) packed[c] = round_operand(x[c]);
      } else {
        for (int64_t c = 0; c < kPairColumns; c++) packed[c] = c < left ? round_operand(x[c]) : 0;
      }
    }
}

#endif

// As RoundedBlock<rows.size()> has it.
static void pack_rounded(const Linear& p, Range rows, Range columns, std::byte* to) {
  const int64_t count = rows.size();
  for (int64_t k = columns.begin; k < columns.end; k += kBlockColumns, to += count * kRoundedRowBytes) {
    Rounded* numbers = reinterpret_cast<Rounded*>(to);
    float* scales = reinterpret_cast<float*>(numbers + kBlockColumns * count);
    for (int64_t r = 0; r < count; r++) {
      const float* x = floats(p.x) + (rows.begin + r) * p.x_stride + k;
      const BlockRounding rounding = round_block(x, columns.end - k, numbers, r, count);
      scales[r] = rounding.scale;
      if (p.weight_dtype == DType::kQ8) {
        const int32_t offset = -128 * rounding.sum;
        std::memcpy(scales + count + r, &offset, sizeof offset);
      } else {
        scales[count + r] = rounding.scale * static_cast<float>(rounding.sum);
      }
    }
  }
}

struct TileKernels {
  MultiplyTile* by_rows[16];
};

template <typename W, int... kIndices>
static constexpr TileKernels list_tiles(std::integer_sequence<int, kIndices...>) {
  return {{multiply_tile<W, kIndices + 1>...}};
}
template <typename W, int... kIndices>
static constexpr TileKernels list_block_tiles(std::integer_sequence<int, kIndices...>) {
  return {{multiply_block_tile<W, kIndices + 1>...}};
}

#if defined(__AVX512BF16__)
template <int... kIndices>
static constexpr TileKernels list_pair_tiles(std::integer_sequence<int, kIndices...>) {
  return {{multiply_pair_tile<kIndices + 1>...}};
}
constexpr TileKernels kPairTileKernels = list_pair_tiles(std::make_integer_sequence<int, kTileRows>());
#endif

template <typename W>
constexpr TileKernels kTileKernels = list_tiles<W>(std::make_integer_sequence<int, kTileRows>());
template <typename W>
constexpr TileKernels kBlockTileKernels =
    list_block_tiles<W>(std::make_integer_sequence<int, kBlockTileRows>());

template <typename W>
constexpr Form kFloatForm = {.multiply = kTileKernels<W>.by_rows,
                             .pack = pack_floats,
                             .packs_one = false,
                             .block_columns = kFloatColumns,
                             .block_bytes = kFloatColumns * 4,
                             .wide_rows = kTileRows,
                             .tile_rows = kTileRows,
                             .stream_rows = kWideRows,
                             .memory_rows = 2 * static_cast<int>(sizeof(typename W::Element))};
template <typename W>
constexpr Form kBlockForm = {.multiply = kBlockTileKernels<W>.by_rows,
                             .pack = pack_rounded,
                             .packs_one = true,
                             .block_columns = kBlockColumns,
                             .block_bytes = kRoundedRowBytes,
                             .wide_rows = kBlockTileRows,
                             .tile_rows = kBlockDeepRows,
                             .stream_rows = kBlockTileRows,
                             .memory_rows = W::kType == DType::kQ8 ? 8 : 4};

constexpr Form with_rounding(Form form) {
  form.pack = pack_rounded_floats;
  form.packs_one = true;
  return form;
}
constexpr Form kRoundedForm = with_rounding(kFloatForm<BF16Weights>);
#if defined(__AVX512BF16__)
constexpr Form kPairForm = {.multiply = kPairTileKernels.by_rows,
                            .pack = pack_pairs,
                            .packs_one = true,
                            .block_columns = kPairColumns,
                            .block_bytes = kPairColumns * 2,
                            .wide_rows = kTileRows,
                            .tile_rows = kTileRows,
                            .stream_rows = kTileRows,
                            .memory_rows = 8};
#endif

static inline const Form& select_rounded_form([[maybe_unused]] const Preferences& preferences) {
#if defined(__AVX512BF16__)
  if (preferences.bf16_products) return kPairForm;
#endif
  return kRoundedForm;
}

static inline const Form& select_form(const Linear& p, const Preferences& preferences) {
  if (p.rounds_x) return select_rounded_form(preferences);
  switch (p.weight_dtype) {
    case DType::kF16:
      return kFloatForm<F16Weights>;
    case DType::kBF16:
      return kFloatForm<BF16Weights>;
    case DType::kQ8:
      return kBlockForm<Q8Weights>;
    case DType::kQ4:
      return kBlockForm<Q4Weights>;
    default:
      return kFloatForm<F32Weights>;
  }
}

}  // namespace kvasir::KVASIR_ISA
