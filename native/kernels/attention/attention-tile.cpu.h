#pragma once

// One query tile: up to kTileRows rows of one sequence and key/value head, and their sums over a segment of
// keys.
//
// A row is a query head of a token. The rows of a sequence and key/value head are numbered token by token,
// the heads of the group side by side; tiles are cut from that numbering, and groups of kGroupRows rows
// (attention-products) from the tile. For each tile of keys: scores block by block, each block for all groups
// while it is in the first-level cache; weights row by row; weighted values group by group.

#include "device/cpu/rows.h"
#include "kernels/attention/attention-products.cpu.h"
#include "kernels/attention/attention-softmax.cpu.h"
#include "kernels/attention/attention.h"

namespace kvasir::KVASIR_ISA {

// Whole groups of rows: enough to use a block of keys often once it is in the first-level cache, few enough
// that sums and scores stay in the second.
constexpr int64_t kTileRows = 48;
constexpr int64_t kMaxHeadSize = 256;

// Keys whose sums are formed from nothing and then added to those of the segments before, so that any thread
// can compute any segment. Counted in absolute positions.
constexpr int64_t kSegment = 512;
static_assert(kSegment % kKeyTile == 0 && kTileRows % kGroupRows == 0);

// Blocks of keys or of values from a load to the prefetch beside it.
constexpr int64_t kPiecesAhead = 2;

// Sums of a tile's rows over some of their keys.
struct RowSums {
  float* y;        // (rows,DP) sum of 2^(score - maximum) v
  float* weight;   // (rows) sum of 2^(score - maximum)
  float* maximum;  // (rows) largest score, kNoScore where there was no key
};

struct QueryTile {
  int64_t sequence, head;  // head of keys and values
  int64_t first_row, rows;
};

// A thread's work space for a tile.
struct alignas(64) TileScratch {
  float q[kTileRows * kMaxHeadSize];  // by groups of rows, scaled
  float p[kTileRows * kKeyTile];      // scores, then weights
  float lanes[kTileRows * kWidth];    // sums of weights by lane
  float rescale[kTileRows];
  float slopes[kTileRows];                    // in units of log2
  int32_t first[kTileRows], last[kTileRows];  // a row sees positions first to last - 1
};

static inline int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }
static inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

static inline int64_t group_size(const Attention& a) { return a.H / a.cache.KH; }

// Positions from first to last - 1.
struct KeyRange {
  int64_t first, last;
};

// What row `row` of a sequence and key/value head sees.
static inline KeyRange visible_keys(const Attention& a, int64_t sequence, int64_t row) {
  const StepTables& t = a.tables;
  const int64_t tokens = t.query_starts[sequence + 1] - t.query_starts[sequence];
  const int64_t last = t.context_lengths[sequence] - tokens + row / group_size(a) + 1;
  return {a.window > 0 ? larger(last - a.window, 0) : 0, last};
}

// Rows of the group that starts at `row`.
static inline int64_t group_rows(const QueryTile& tile, int64_t row) {
  return smaller(kGroupRows, tile.rows - row);
}

static void load_queries(const Attention& a, const QueryTile& tile, const ScoreRule& rule,
                         TileScratch& scratch) {
  const int64_t group = group_size(a), DP = KvCacheLayer::padded(a.D);
  const int64_t start = a.tables.query_starts[tile.sequence];
  const auto query = [&](int64_t row) {
    const int64_t token = (tile.first_row + row) / group,
                  head = tile.head * group + (tile.first_row + row) % group;
    return floats(a.q) + (start + token) * a.q_stride + head * a.D;
  };
  for (int64_t row = 0; row < tile.rows; row++) {
    const int64_t head = tile.head * group + (tile.first_row + row) % group;
    const int64_t place = row % kGroupRows, rows = group_rows(tile, row - place);
    const float* q = query(row);
    if (row + kRowsAhead < tile.rows) fetch_row(query(row + kRowsAhead), a.D);
    float* packed = scratch.q + (row - place) * DP + place * kPackedChannels;
    for (int64_t d = 0; d < a.D; d += kWidth) {
      const Vec x = load_partial(q + d, static_cast<int>(smaller(kWidth, a.D - d)));
      float* to = packed + d / kPackedChannels * rows * kPackedChannels + d % kPackedChannels;
      store(to, x * broadcast(rule.q_scale));
    }
    const KeyRange keys = visible_keys(a, tile.sequence, tile.first_row + row);
    scratch.first[row] = static_cast<int32_t>(keys.first);
    scratch.last[row] = static_cast<int32_t>(keys.last);
    scratch.slopes[row] = a.slopes != nullptr ? a.slopes[head] * kLog2E : 0;
  }
}

static void store_outputs(const Attention& a, const QueryTile& tile, const RowSums& sums) {
  const int64_t group = group_size(a), DP = KvCacheLayer::padded(a.D);
  const int64_t start = a.tables.query_starts[tile.sequence];
  for (int64_t row = 0; row < tile.rows; row++) {
    const int64_t token = (tile.first_row + row) / group,
                  head = tile.head * group + (tile.first_row + row) % group;
    float* y = floats(a.y) + (start + token) * a.y_stride + head * a.D;
    const Vec weight = broadcast(sums.weight[row]);
    for (int64_t d = 0; d < a.D; d += kWidth) {
      // + 0: the sign of a zero could come from keys that the row does not see, 0 times a negative value.
      const Vec mean = load(sums.y + row * DP + d) / weight + zero();
      store_partial(y + d, mean, static_cast<int>(smaller(kWidth, a.D - d)));
    }
  }
}

// The blocks of a tile of keys, from the one that holds position `begin` to the one that holds `end` - 1.
template <typename T>
struct KeyBlocks {
  int64_t start, begin, end;  // absolute positions: the tile's start, and what any row sees of it
  int64_t count;
  // In the order they are read: keys of each block, values of each, keys after the tile. What is prefetched
  // beside a piece is the one kPiecesAhead after it.
  const T* pieces[2 * kTileBlocks + kPiecesAhead];
  const float *key_scales[kTileBlocks], *value_scales[kTileBlocks];  // of int8

  int64_t block_start(int64_t i) const { return (begin / kBlockTokens + i) * kBlockTokens; }
  const T* keys(int64_t i) const { return pieces[i]; }
  const T* values(int64_t i) const { return pieces[count + i]; }
  const T* ahead_of_keys(int64_t i) const { return pieces[i + kPiecesAhead]; }
  const T* ahead_of_values(int64_t i) const { return pieces[count + i + kPiecesAhead]; }
};

template <typename T>
static KeyBlocks<T> key_blocks(const Attention& a, const QueryTile& tile, int64_t start, int64_t first,
                               int64_t last) {
  const int32_t* table = a.tables.block_tables + tile.sequence * a.tables.W;
  KeyBlocks<T> blocks;
  blocks.start = start;
  blocks.begin = larger(start, first);
  blocks.end = smaller(start + kKeyTile, last);
  const int64_t first_block = blocks.begin / kBlockTokens, last_block = (last - 1) / kBlockTokens;
  blocks.count = (blocks.end - 1) / kBlockTokens + 1 - first_block;
  const T** piece = blocks.pieces;
  for (int64_t i = 0; i < blocks.count; i++) {
    *piece++ = reinterpret_cast<const T*>(a.cache.keys(table[first_block + i], tile.head));
    blocks.key_scales[i] = a.cache.key_scales(table[first_block + i], tile.head);
    blocks.value_scales[i] = a.cache.value_scales(table[first_block + i], tile.head);
  }
  for (int64_t i = 0; i < blocks.count; i++)
    *piece++ = reinterpret_cast<const T*>(a.cache.values(table[first_block + i], tile.head));
  for (int64_t i = 0; i < kPiecesAhead; i++) {
    const int64_t next = smaller(first_block + blocks.count + i, last_block);
    *piece++ = reinterpret_cast<const T*>(a.cache.keys(table[next], tile.head));
  }
  return blocks;
}

template <typename T>
static void form_scores(const Attention& a, const QueryTile& tile, const KeyBlocks<T>& blocks,
                        TileScratch& scratch) {
  for (int64_t i = 0; i < blocks.count; i++) {
    const int64_t start = blocks.block_start(i);
    for (int64_t row = 0; row < tile.rows; row += kGroupRows) {
      const int64_t rows = group_rows(tile, row);
      if (scratch.last[row + rows - 1] <= start || scratch.first[row] >= start + kBlockTokens) continue;
      const ScoreProduct<T> product{
          scratch.q + row * KvCacheLayer::padded(a.D),         blocks.keys(i),       blocks.ahead_of_keys(i),
          scratch.p + row * kKeyTile + (start - blocks.start), blocks.key_scales[i], a.D};
      kProductKernels<T>.scores[rows - 1](product);
    }
  }
}

static void form_weights(const ScoreRule& rule, ScoreRow s, int64_t start, int64_t row, TileScratch& scratch,
                         const RowSums& sums) {
  s.scores = scratch.p + row * kKeyTile;
  s.first = scratch.first[row] - start;
  s.last = scratch.last[row] - start;
  if (rule.softcap > 0) apply_softcap(s, rule.softcap);
  if (rule.slopes) apply_slope(s, scratch.slopes[row], start - (scratch.last[row] - 1));
  if (s.first > s.begin || s.last < s.end) apply_mask(s);

  const float before = sums.maximum[row], largest = largest_score(s);
  const float maximum = largest > before ? largest : before;
  const float reference = reference_of(maximum);
  const float rescale = maximum == before ? 1.0f : exp2_of_negative(before - reference);
  float* lanes = scratch.lanes + row * kWidth;
  store(lanes, weigh(s, reference, load(lanes) * broadcast(rescale)));
  scratch.rescale[row] = rescale;
  sums.maximum[row] = maximum;
}

// Weights of int8 values take their scales.
template <typename T>
static void scale_weights(const KeyBlocks<T>& blocks, int64_t row, int64_t rows, TileScratch& scratch) {
  for (int64_t i = 0; i < blocks.count; i++) {
    float* p = scratch.p + row * kKeyTile + (blocks.block_start(i) - blocks.start);
    for (int64_t r = 0; r < rows; r++, p += kKeyTile)
      for (int64_t j = 0; j < kBlockTokens; j += kWidth)
        store(p + j, load(p + j) * load(blocks.value_scales[i] + j));
  }
}

template <typename T>
static void add_key_tile(const Attention& a, const QueryTile& tile, const ScoreRule& rule,
                         const KeyBlocks<T>& blocks, TileScratch& scratch, const RowSums& sums) {
  const int64_t DP = KvCacheLayer::padded(a.D), start = blocks.start;
  form_scores(a, tile, blocks, scratch);
  for (int64_t row = 0; row < tile.rows; row += kGroupRows) {
    const int64_t rows = group_rows(tile, row);
    const int64_t first = larger(scratch.first[row], blocks.begin) - start;
    const int64_t last = smaller(scratch.last[row + rows - 1], blocks.end) - start;
    if (first >= last) continue;
    const ScoreRow range{nullptr, first / kWidth * kWidth, (last + kWidth - 1) / kWidth * kWidth, 0, 0};
    for (int64_t r = row; r < row + rows; r++) form_weights(rule, range, start, r, scratch, sums);

    if constexpr (std::is_same_v<T, Int8Element>) scale_weights(blocks, row, rows, scratch);
    ValueProduct<T> product{scratch.p + row * kKeyTile, {},    {},   scratch.rescale + row,
                            sums.y + row * DP,          first, last, DP};
    for (int64_t i = 0; i < blocks.count; i++) {
      const int64_t place = (blocks.block_start(i) - start) / kBlockTokens;
      product.values[place] = blocks.values(i);
      product.ahead[place] = blocks.ahead_of_values(i);
    }
    kProductKernels<T>.values[rows - 1](product);
  }
}

// Sums over the positions of `segment` that the rows see; load_queries has been called. Unfinished when
// aborted.
template <typename T>
static void attend_segment(const Attention& a, const QueryTile& tile, const ScoreRule& rule, int64_t segment,
                           TileScratch& scratch, const RowSums& sums, const Execution& execution) {
  const int64_t DP = KvCacheLayer::padded(a.D);
  std::memset(sums.y, 0, static_cast<size_t>(tile.rows * DP) * sizeof(float));
  std::memset(scratch.lanes, 0, static_cast<size_t>(tile.rows * kWidth) * sizeof(float));
  for (int64_t row = 0; row < tile.rows; row++) sums.maximum[row] = kNoScore;

  const int64_t first = larger(scratch.first[0], segment * kSegment);
  const int64_t last = smaller(scratch.last[tile.rows - 1], (segment + 1) * kSegment);
  for (int64_t start = first / kKeyTile * kKeyTile; start < last && !execution.aborted(); start += kKeyTile)
    add_key_tile(a, tile, rule, key_blocks<T>(a, tile, start, first, last), scratch, sums);
  for (int64_t row = 0; row < tile.rows; row++)
    sums.weight[row] = reduce_add(load(scratch.lanes + row * kWidth));
}

}  // namespace kvasir::KVASIR_ISA
