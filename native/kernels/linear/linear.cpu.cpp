// The rows of x are cut into tiles of nearly equal height, the tiles into blocks. An item of work, what a
// thread takes at a time, is one block with some panels of W; K is never split. For each panel the item
// multiplies its tiles one after the other and writes their results straight into y.
//
// - A few rows are one tile as wide as the panel: the weights are a stream from memory, in address order.
// - With more rows several tiles share a panel in the cache, and while they are multiplied they fetch the
//   next one, so that memory and arithmetic overlap.
//
// Rows of x are first packed, by all threads, into the order in which a tile reads them: several rows, and a single
// one where packing rounds. The sums of a tile pass through a buffer on the stack, so that
// every path has the same epilogue.

#include "kernels/linear/linear.h"

#include "device/cpu/parallel.h"
#include "kernels/linear/linear-epilogue.cpu.h"
#include "kernels/linear/linear-form.cpu.h"

namespace kvasir::KVASIR_ISA {

namespace {

int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
constexpr int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }
int64_t ceil_divide(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Part `index` of [0, total) in `parts` nearly equal parts.
Range part(int64_t total, int64_t parts, int64_t index) {
  return {index * total / parts, (index + 1) * total / parts};
}

struct Work {
  Work(const Linear& p, const Form& form, bool fetch_ahead) : p(p), form(form), fetch_ahead(fetch_ahead) {}

  const Linear& p;
  const Form& form;
  const bool fetch_ahead;
  const std::byte* x = nullptr;  // packed
  Epilogue* finish = nullptr;
  int64_t tiles = 0;        // of the rows of x
  int64_t blocks = 0;       // of tiles
  int64_t panel_bytes = 0;  // of one panel
  int64_t panels = 0;       // of W; gated: panels of G, each with one of U
  int64_t item_panels = 0;  // of these in an item

  // From a panel of W, or of G, to the next.
  int64_t stride() const { return p.gated ? 2 * panel_bytes : panel_bytes; }
};

void pack_rows(const Work& work, std::byte* packed, Execution& execution) {
  constexpr int64_t kColumns = 512;
  constexpr int64_t kGrainBytes = 16 * 1024;  // about a microsecond
  const Linear& p = work.p;
  const Form& form = work.form;
  const int64_t segments = ceil_divide(p.K, kColumns);
  const int64_t grain = kGrainBytes / (ceil_divide(p.M, work.tiles) * kColumns * 4);
  parallel_for(execution, work.tiles * segments, grain, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; i++) {
      const Range rows = part(p.M, work.tiles, i / segments);
      const int64_t k = i % segments * kColumns;
      std::byte* to = packed + rows.begin * form.row_bytes(p.K) + form.row_bytes(k) * rows.size();
      form.pack(p, rows, {k, smaller(k + kColumns, p.K)}, to);
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
  const std::byte* x = work.x + rows.begin * work.form.row_bytes(p.K);
  MultiplyTile* multiply = work.form.multiply[rows.size() - 1];
  alignas(64) float sums[2][larger(kTileRows, kBlockTileRows) * kPanelRows];
  multiply(x, panel, p.K, fetch, sums[0]);
  if (p.gated)
    multiply(x, panel + work.panel_bytes, p.K, {fetch.next + work.panel_bytes, fetch.step}, sums[1]);
  work.finish(p, {sums[0], sums[1], rows.begin, n, rows.size()});
}

// What the first of the tiles fetches while it is multiplied with the panel. Several tiles share the next
// panel among them; one that reads its panel as a stream fetches what lies a little ahead, where that helps:
// on processors that want it, and where arithmetic takes longer than memory. Measured on Zen 4: 12 rows of f32
// with AVX-512 take 17 % less time, 8 rows of bf16 with AVX2, which pass over a panel four times, 45 %; 4 rows of
// f32, 40 % more. (A step of 0 fetches what is in the cache.)
Fetch first_fetch(const Work& work, const char* panel, int64_t tiles) {
  const Linear& p = work.p;
  if (tiles > 1 || p.M > work.form.stream_rows) return {panel + work.stride(), ceil_divide(64, tiles)};
  if (work.fetch_ahead) return {panel + 4 * 1024, 64};
  return p.M > work.form.memory_rows ? Fetch{panel + 16 * 1024, 64} : Fetch{panel, 0};
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
int64_t count_blocks(const Work& work) {
  constexpr int64_t kBlockBytes = 512 * 1024;
  const int64_t rows = smaller(larger(kBlockBytes / work.form.row_bytes(work.p.K), 48), 132);
  return smaller(ceil_divide(work.p.M, rows), work.tiles);
}

int64_t count_item_panels(const Work& work, int num_threads) {
  const Linear& p = work.p;
  // Several blocks: both x and the weights are used several times before they leave the cache, and there are
  // items enough for balance.
  if (work.blocks > 1) return larger(1, smaller(4, work.panels * work.blocks / (16 * num_threads)));
  // One: 64 to 128 KiB of weights, or arithmetic that takes as long (two multiply-adds for a byte; of bytes, eight).
  const int64_t products = p.M * p.K * kPanelRows * (p.gated ? 2 : 1);
  const int64_t arithmetic = products / (is_blocked(p.weight_dtype) ? 8 : 2);
  const int64_t cost = larger(work.stride(), arithmetic);
  const int64_t share = cost * work.panels / (4 * num_threads);
  return larger(1, larger(64 * 1024, smaller(share, 128 * 1024)) / cost);
}

}  // namespace

void linear(const Linear& p, Execution& execution) {
  if (p.M == 0) return;
  const Form& form = select_form(p, execution.preferences);
  Work work(p, form, execution.preferences.fetch_ahead);
  work.finish = select_epilogue(p.activation, p.gated);
  work.tiles = p.M <= form.wide_rows ? 1 : ceil_divide(p.M, form.tile_rows);
  work.blocks = count_blocks(work);
  work.panel_bytes = panel_bytes(p.weight_dtype, p.K);
  work.panels = panel_count(p.N);
  work.item_panels = count_item_panels(work, execution.pool.num_threads());
  work.x = static_cast<const std::byte*>(p.x);
  if (p.M > 1 || form.packs_one) {
    pack_rows(work, execution.scratch, execution);
    work.x = execution.scratch;
  }
  const int64_t items = ceil_divide(work.panels, work.item_panels) * work.blocks;
  parallel_for(execution, items, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t item = begin; item < end; item++) multiply_item(work, item);
  });
}

}  // namespace kvasir::KVASIR_ISA
