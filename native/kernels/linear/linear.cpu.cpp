// The rows of x are cut into tiles of nearly equal height, the tiles into blocks. An item of work, what a
// thread takes at a time, is one block with some panels of W; K is never split. For each panel the item
// multiplies its tiles one after the other and writes their results straight into y.
//
// - A few rows are one tile as wide as the panel: the weights are a stream from memory, in address order.
// - With more rows several tiles share a panel in the cache, and while they are multiplied they fetch the
//   next one, so that memory and arithmetic overlap.
//
// Several rows of x are first packed, by all threads, into the order in which a tile reads them. The sums of
// a tile pass through a buffer on the stack, so that every path has the same epilogue.

#include "kernels/linear/linear.h"

#include "device/cpu/parallel.h"
#include "kernels/linear/linear-epilogue.cpu.h"
#include "kernels/linear/linear-tile.cpu.h"

namespace kvasir::KVASIR_ISA {

namespace {

int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }
int64_t ceil_divide(int64_t a, int64_t b) { return (a + b - 1) / b; }

struct Range {
  int64_t begin, end;
  int64_t size() const { return end - begin; }
};

// Part `index` of [0, total) in `parts` nearly equal parts.
Range part(int64_t total, int64_t parts, int64_t index) {
  return {index * total / parts, (index + 1) * total / parts};
}

struct Work {
  explicit Work(const Linear& p) : p(p) {}

  const Linear& p;
  const float* x = nullptr;                 // packed
  MultiplyTile* const* multiply = nullptr;  // by the number of rows less one
  Epilogue* finish = nullptr;
  int64_t tiles = 0;        // of the rows of x
  int64_t blocks = 0;       // of tiles
  int64_t panel_bytes = 0;  // of one panel
  int64_t panels = 0;       // of W; gated: panels of G, each with one of U
  int64_t item_panels = 0;  // of these in an item

  // From a panel of W, or of G, to the next.
  int64_t stride() const { return p.gated ? 2 * panel_bytes : panel_bytes; }
};

// Where the tile that begins with row `row` lies in the packed x.
int64_t packed_offset(int64_t row, int64_t K) { return row * ceil_divide(K, kBlockColumns) * kBlockColumns; }

void pack_tile(const Linear& p, Range rows, Range columns, float* packed) {
  packed += packed_offset(rows.begin, p.K) + columns.begin * rows.size();
  for (int64_t k = columns.begin; k < columns.end; k += kBlockColumns)
    for (int64_t m = rows.begin; m < rows.end; m++, packed += kBlockColumns) {
      const float* x = floats(p.x) + m * p.x_stride + k;
      for_each_vector(smaller(columns.end - k, kBlockColumns),
                      [&](int64_t c, auto lanes) { store(packed + c, load(x + c, lanes)); });
    }
}

void pack_rows(const Linear& p, int64_t tiles, float* packed, Execution& execution) {
  constexpr int64_t kColumns = 512;
  constexpr int64_t kGrainBytes = 16 * 1024;  // about a microsecond
  const int64_t segments = ceil_divide(p.K, kColumns);
  const int64_t grain = kGrainBytes / (ceil_divide(p.M, tiles) * kColumns * 4);
  parallel_for(execution, tiles * segments, grain, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; i++) {
      const int64_t k = i % segments * kColumns;
      pack_tile(p, part(p.M, tiles, i / segments), {k, smaller(k + kColumns, p.K)}, packed);
    }
  });
}

void multiply_rows(const Work& work, Range rows, const char* panel, int64_t n, Fetch fetch) {
  const Linear& p = work.p;
  // y is often far from the caches, and a tile's stores come all at once.
  for (int64_t m = rows.begin; m < rows.end; m++) {
    __builtin_prefetch(floats(p.y) + m * p.y_stride + n, 1, 3);
    __builtin_prefetch(floats(p.y) + m * p.y_stride + n + kPanelRows / 2, 1, 3);
  }
  const float* x = work.x + packed_offset(rows.begin, p.K);
  MultiplyTile* multiply = work.multiply[rows.size() - 1];
  alignas(64) float sums[2][kTileRows * kPanelRows];
  multiply(x, panel, p.K, fetch, sums[0]);
  if (p.gated)
    multiply(x, panel + work.panel_bytes, p.K, {fetch.next + work.panel_bytes, fetch.step}, sums[1]);
  work.finish(p, {sums[0], sums[1], rows.begin, n, rows.size()});
}

// What the first of the tiles fetches while it is multiplied with the panel. Several tiles share the next
// panel among them; one that reads its panel as a stream fetches what lies a little ahead, if arithmetic
// takes longer than memory, which is so from 2 rows a byte of a weight. Measured on Zen 4: 12 rows of f32
// with AVX-512 take 17 % less time, 8 rows of bf16 with AVX2, which pass over a panel four times, 45 %.
Fetch first_fetch(const Work& work, const char* panel, int64_t tiles) {
  constexpr int64_t kAhead = 16 * 1024;
  const Linear& p = work.p;
  if (tiles > 1 || p.M > kWideRows) return {panel + work.stride(), ceil_divide(64, tiles)};
  return p.M > 2 * size_of(p.weight_dtype) ? Fetch{panel + kAhead, 64} : Fetch{panel, 0};
}

void multiply_panel(const Work& work, Range tiles, int64_t index) {
  const char* panel = static_cast<const char*>(work.p.weight) + index * work.stride();
  Fetch fetch = first_fetch(work, panel, tiles.size());
  for (int64_t t = tiles.begin; t < tiles.end; t++) {
    multiply_rows(work, part(work.p.M, work.tiles, t), panel, index * kPanelRows, fetch);
    fetch.next += work.panel_bytes / 64 * fetch.step;
  }
}

void multiply_item(const Work& work, int64_t item) {
  const Range tiles = part(work.tiles, work.blocks, item % work.blocks);
  const int64_t begin = item / work.blocks * work.item_panels;
  const int64_t end = smaller(begin + work.item_panels, work.panels);
  for (int64_t i = begin; i < end; i++) multiply_panel(work, tiles, i);
}

// Blocks of at most 132 rows, fewer where K is large: with a panel they shall fit into the second-level
// cache, but below 48 rows the weights are read too often.
int64_t count_blocks(const Linear& p, int64_t tiles) {
  constexpr int64_t kBlockBytes = 512 * 1024;
  const int64_t rows = smaller(larger(kBlockBytes / (p.K * 4), 48), 132);
  return smaller(ceil_divide(p.M, rows), tiles);
}

int64_t count_item_panels(const Work& work, int num_threads) {
  const Linear& p = work.p;
  // Several blocks: both x and the weights are used several times before they leave the cache, and there are
  // items enough for balance.
  if (work.blocks > 1) return larger(1, smaller(4, work.panels * work.blocks / (16 * num_threads)));
  // One: 64 to 128 KiB of weights, or arithmetic that takes as long (two multiply-adds for a byte).
  const int64_t arithmetic = p.M * p.K * kPanelRows * (p.gated ? 2 : 1) / 2;
  const int64_t cost = larger(work.stride(), arithmetic);
  const int64_t share = cost * work.panels / (4 * num_threads);
  return larger(1, larger(64 * 1024, smaller(share, 128 * 1024)) / cost);
}

MultiplyTile* const* select_multiply(DType weight_dtype) {
  switch (weight_dtype) {
    case DType::kF16:
      return kTileKernels<F16Weights>.by_rows;
    case DType::kBF16:
      return kTileKernels<BF16Weights>.by_rows;
    default:
      return kTileKernels<F32Weights>.by_rows;
  }
}

}  // namespace

void linear(const Linear& p, Execution& execution) {
  if (p.M == 0) return;
  Work work{p};
  work.multiply = select_multiply(p.weight_dtype);
  work.finish = select_epilogue(p.activation, p.gated);
  work.tiles = ceil_divide(p.M, kTileRows);
  work.blocks = count_blocks(p, work.tiles);
  work.panel_bytes = panel_bytes(p.weight_dtype, p.K);
  work.panels = panel_count(p.N);
  work.item_panels = count_item_panels(work, execution.pool.num_threads());
  work.x = floats(p.x);
  if (p.M > 1) {
    float* packed = reinterpret_cast<float*>(execution.scratch);
    pack_rows(p, work.tiles, packed, execution);
    work.x = packed;
  }
  const int64_t items = ceil_divide(work.panels, work.item_panels) * work.blocks;
  parallel_for(execution, items, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t item = begin; item < end; item++) multiply_item(work, item);
  });
}

}  // namespace kvasir::KVASIR_ISA
