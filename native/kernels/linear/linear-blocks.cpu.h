#pragma once

// Tiles of blocked weights. Activations are rounded to 8 bits, a scale for each block of kBlockColumns, once for a
// layer; products and sums within a block are exact in integers, and each block is added to one f32 sum, in
// ascending order. A result does not depend on the tile's form, nor, but for that sum's rounding, on the
// instruction set.

#include "device/cpu/int8.h"
#include "kernels/linear/linear-tile.cpu.h"
#include "types/panels.h"

namespace kvasir::KVASIR_ISA {

// Up to kBlockTileRows rows in one pass over the panel; more than kBlockDeepRows rows are cut into tiles of no more
// than that, whose sums stay in registers. Tiles of more than kBlockWideRows rows take one vector at a time.
#if defined(__AVX512F__)  // 32 registers
constexpr int kBlockTileRows = 8, kBlockDeepRows = 6, kBlockVectors = 2;
#elif defined(__AVXVNNI__)
constexpr int kBlockTileRows = 4, kBlockDeepRows = 3, kBlockVectors = 2;
#elif defined(__ARM_FEATURE_MATMUL_INT8)  // 32 registers
constexpr int kBlockTileRows = 8, kBlockDeepRows = 8, kBlockVectors = 2;
#elif defined(__aarch64__)                // 32 registers
constexpr int kBlockTileRows = 4, kBlockDeepRows = 4, kBlockVectors = 2;
#else                                     // two sums for each lane
constexpr int kBlockTileRows = 2, kBlockDeepRows = 2, kBlockVectors = 1;
#endif
#if defined(__ARM_FEATURE_MATMUL_INT8)
constexpr int kBlockWideRows = 6;
#else
constexpr int kBlockWideRows = kBlockTileRows;
#endif

constexpr int kFours = static_cast<int>(kBlockColumns) / 4;  // of a block
constexpr int64_t kPieceBytes = 4 * kPanelRows;              // of a panel's rows, a load of each

// Where the numbers of four columns of a row are in a block of several rows. Where products are of eight columns, fours
// lie beside those half a block on, as q4 has both in one byte.
constexpr int64_t four_offset(int64_t four, int64_t row, int64_t rows) {
#if defined(__ARM_FEATURE_MATMUL_INT8)
  return 8 * (four % (kFours / 2) * rows + row) + 4 * (four / (kFours / 2));
#else
  return 4 * (four * rows + row);
#endif
}

// A block of kRows rows of x: for each four columns, four numbers of each row; then each row's scale, and what its
// products with weights that are all 1 sum to: times -128 for q8, times the scale for q4.
template <int kRows>
struct RoundedBlock {
  Rounded numbers[kBlockColumns * kRows];
  float scales[kRows];
  union {
    int32_t offsets[kRows];
    float sums[kRows];
  };

  const Rounded* four(int four, int row) const { return numbers + four_offset(four, row, kRows); }
};
constexpr int64_t kRoundedRowBytes = sizeof(RoundedBlock<1>);  // a block of one row, in any tile

// A number x as x / scale to the nearest integer, scale being the block's largest magnitude / 127, to the place of `row`
// in a block of `rows`. Blocks below 2^-100 count as zeros; one with a number that is not finite has the scale NaN.
struct BlockRounding {
  float scale;
  int32_t sum;
};
static inline BlockRounding round_block(const float* x, int64_t columns, Rounded* block, int64_t row,
                                        int64_t rows) {
  constexpr int kVectors = static_cast<int>(kBlockColumns) / kWidth;
  constexpr int32_t kInfinity = 0x7f800000;
  Vec numbers[kVectors];
#pragma GCC unroll 8
  for (int v = 0; v < kVectors; v++) {
    const int64_t left = columns - v * kWidth;
    numbers[v] = left >= kWidth ? load(x + v * kWidth)
                 : left > 0     ? load_partial(x + v * kWidth, static_cast<int>(left))
                                : zero();
  }
  // As integers magnitudes have the same order, and infinity and NaN come last.
  auto most = magnitude_bits(numbers[0]);
#pragma GCC unroll 8
  for (int v = 1; v < kVectors; v++) most = larger_integers(most, magnitude_bits(numbers[v]));
  const int32_t bits = largest_integer(most);
  float largest;
  std::memcpy(&largest, &bits, sizeof largest);
  const bool counts = largest >= 0x1p-100f;  // not NaN
  const Vec inverse = broadcast(counts ? 127.0f / largest : 0.0f);
  alignas(64) Rounded rounded[kBlockColumns];
  auto sum = store_rounded(rounded, numbers[0] * inverse);
#pragma GCC unroll 8
  for (int v = 1; v < kVectors; v++)
    sum = add_integers(sum, store_rounded(rounded + v * kWidth, numbers[v] * inverse));
  for (int four = 0; four < kFours; four++)
    std::memcpy(block + four_offset(four, row, rows), rounded + 4 * four, 4 * sizeof(Rounded));
  const float scale = bits >= kInfinity ? largest - largest : counts ? largest / 127.0f : 0.0f;
  return {scale, sum_integers(sum)};
}

// How a blocked type's panel is read: the block's bytes from four columns on, and the block's end.
struct Q8Weights {
  static constexpr DType kType = DType::kQ8;
  static constexpr int kLoads = kFours;

  // Four columns, and those half a block on.
  static inline void load_eight(const uint8_t* piece, Bytes& first, Bytes& second) {
    first = load_bytes(piece);
    second = load_bytes(piece + kFours / 2 * kPieceBytes);
  }
  template <int kRows>
  static inline Dots start(const RoundedBlock<kRows>& x, int row) {
    return start_dots(x.offsets[row]);
  }
  template <int kRows, int kVectors>
  static inline void add(const RoundedBlock<kRows>& x, const uint8_t* panel, int load,
                         Dots (&dots)[kRows][kVectors]) {
    Bytes w[kVectors];
#pragma GCC unroll 32
    for (int v = 0; v < kVectors; v++) w[v] = load_bytes(panel + 4 * kWidth * v);
#pragma GCC unroll 32
    for (int r = 0; r < kRows; r++) {
      const FourRounded four = load_rounded(x.four(load, r));
#pragma GCC unroll 32
      for (int v = 0; v < kVectors; v++) dots[r][v] = add_products(dots[r][v], w[v], four);
    }
  }
  template <int kRows>
  static inline Vec finish(const RoundedBlock<kRows>& x, int row, Vec dots, const uint16_t* scales, Vec sum) {
    return fma(dots, load_f16(scales) * broadcast(x.scales[row]), sum);
  }
};

struct Q4Weights {
  static constexpr DType kType = DType::kQ4;
  static constexpr int kLoads = kFours / 2;

  static inline void load_eight(const uint8_t* piece, Bytes& first, Bytes& second) {
    load_halves(piece, first, second);
  }
  template <int kRows>
  static inline Dots start(const RoundedBlock<kRows>&, int) {
    return start_dots(0);
  }
  template <int kRows, int kVectors>
  static inline void add(const RoundedBlock<kRows>& x, const uint8_t* panel, int load,
                         Dots (&dots)[kRows][kVectors]) {
    Bytes low[kVectors], high[kVectors];
#pragma GCC unroll 32
    for (int v = 0; v < kVectors; v++) load_halves(panel + 4 * kWidth * v, low[v], high[v]);
#pragma GCC unroll 32
    for (int r = 0; r < kRows; r++) {
      const FourRounded first = load_rounded(x.four(load, r));
      const FourRounded second = load_rounded(x.four(load + kLoads, r));
#pragma GCC unroll 32
      for (int v = 0; v < kVectors; v++)
        dots[r][v] = add_products(add_products(dots[r][v], low[v], first), high[v], second);
    }
  }
  template <int kRows>
  static inline Vec finish(const RoundedBlock<kRows>& x, int row, Vec dots, const uint16_t* scales, Vec sum) {
    sum = fma(dots, load_f16(scales) * broadcast(x.scales[row]), sum);
    return fma(load_f16(scales + kPanelRows), broadcast(x.sums[row]), sum);
  }
};

// The exact sums of a block's products; `pieces` are the vectors' in the panel.
template <typename W, int kRows, int kVectors>
static inline void sum_block(const RoundedBlock<kRows>& x, const uint8_t* pieces,
                             Dots (&dots)[kRows][kVectors]) {
#pragma GCC unroll 32
  for (int r = 0; r < kRows; r++)
#pragma GCC unroll 32
    for (int v = 0; v < kVectors; v++) dots[r][v] = W::start(x, r);
#pragma GCC unroll 32
  for (int load = 0; load < W::kLoads; load++) W::add(x, pieces + load * kPieceBytes, load, dots);
}

#if defined(__ARM_FEATURE_MATMUL_INT8)
// Two lanes at a time with two rows, eight columns in one instruction.
template <typename W, int kRows, int kVectors>
  requires(kRows > 1)
static inline void sum_block(const RoundedBlock<kRows>& x, const uint8_t* pieces,
                             Dots (&dots)[kRows][kVectors]) {
  constexpr int kPairs = (kRows + 1) / 2;
  const auto has_second = [](int pair) { return 2 * pair + 1 < kRows; };
  PairDots sums[kPairs][kVectors][2];
#pragma GCC unroll 32
  for (int p = 0; p < kPairs; p++)
#pragma GCC unroll 32
    for (int v = 0; v < kVectors; v++)
      sums[p][v][0] = sums[p][v][1] =
          start_pair(W::start(x, 2 * p), W::start(x, has_second(p) ? 2 * p + 1 : 2 * p));
#pragma GCC unroll 32
  for (int eight = 0; eight < kFours / 2; eight++) {
    LanePair w[kVectors][2];
#pragma GCC unroll 32
    for (int v = 0; v < kVectors; v++) {
      Bytes first, second;
      W::load_eight(pieces + eight * kPieceBytes + 4 * kWidth * v, first, second);
      pair_lanes(first, second, w[v]);
    }
#pragma GCC unroll 32
    for (int p = 0; p < kPairs; p++) {
      const RowPair rows = load_row_pair(x.four(eight, 2 * p), has_second(p));
#pragma GCC unroll 32
      for (int v = 0; v < kVectors; v++)
#pragma GCC unroll 2
        for (int half = 0; half < 2; half++)
          sums[p][v][half] = add_products(sums[p][v][half], w[v][half], rows);
    }
  }
#pragma GCC unroll 32
  for (int p = 0; p < kPairs; p++)
#pragma GCC unroll 32
    for (int v = 0; v < kVectors; v++) {
      dots[2 * p][v] = first_row(sums[p][v]);
      if (has_second(p)) dots[2 * p + 1][v] = second_row(sums[p][v]);
    }
}
#endif

template <typename W, int kRows, int kVectors>
static inline void multiply_block_vectors(const RoundedBlock<kRows>* x, const uint8_t* panel, int64_t blocks,
                                          int v0, Fetch fetch, float* result) {
  constexpr int64_t kBytes = panel_block_bytes(W::kType), kHeader = panel_block_header(W::kType);
  constexpr int kLines = static_cast<int>(kBytes) / 64 * kVectors / kPanelVectors;
  Vec sums[kRows][kVectors];
#pragma GCC unroll 32
  for (int r = 0; r < kRows; r++)
#pragma GCC unroll 32
    for (int v = 0; v < kVectors; v++) sums[r][v] = zero();
  for (int64_t b = 0; b < blocks; b++, panel += kBytes, x++) {
#pragma GCC unroll 32
    for (int i = 0; i < kLines; i++) __builtin_prefetch(fetch.next + i * fetch.step, 0, 2);
    fetch.next += kLines * fetch.step;
    Dots dots[kRows][kVectors];
    sum_block<W>(*x, panel + kHeader + v0 * 4 * kWidth, dots);
    const auto scales = reinterpret_cast<const uint16_t*>(panel) + v0 * kWidth;
#pragma GCC unroll 32
    for (int r = 0; r < kRows; r++)
#pragma GCC unroll 32
      for (int v = 0; v < kVectors; v++)
        sums[r][v] = W::finish(*x, r, to_floats(dots[r][v]), scales + v * kWidth, sums[r][v]);
  }
#pragma GCC unroll 32
  for (int r = 0; r < kRows; r++)
#pragma GCC unroll 32
    for (int v = 0; v < kVectors; v++) store(result + r * kPanelRows + (v0 + v) * kWidth, sums[r][v]);
}

template <typename W, int kRows>
static void multiply_block_tile(const void* x, const void* panel, int64_t K, Fetch fetch, float* result) {
  constexpr int kVectors = kRows > kBlockWideRows ? 1 : kBlockVectors;
  constexpr int kLines = static_cast<int>(panel_block_bytes(W::kType)) / 64 * kVectors / kPanelVectors;
  const int64_t blocks = block_count(K);
  for (int v0 = 0; v0 < kPanelVectors; v0 += kVectors) {
    multiply_block_vectors<W, kRows, kVectors>(static_cast<const RoundedBlock<kRows>*>(x),
                                               static_cast<const uint8_t*>(panel), blocks, v0, fetch, result);
    fetch.next += blocks * kLines * fetch.step;
  }
}

}  // namespace kvasir::KVASIR_ISA
