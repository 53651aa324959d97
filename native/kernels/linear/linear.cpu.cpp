// The rows of x are cut into tiles of nearly equal height, the tiles into blocks. An item of work, what a thread takes
// at a time, is one block with some panels of W; K is never split. For each panel the item multiplies its tiles one
// after the other and writes their results straight into y.
//
//   few rows   one tile as wide as the panel: the weights are a stream from memory in address order, read once
//   more       tiles share a panel from the cache, and fetch the next one while they are multiplied, so that memory
//              and arithmetic overlap
//
// Several rows of x are first packed, by all threads, into the order in which a tile reads them. Results of a tile
// pass through a buffer of its size on the stack, so that there is one epilogue for all of them.

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
  const Linear& p;
  const float* x;                 // packed
  MultiplyTile* const* multiply;  // by the number of rows less one
  Epilogue* finish;
  int tile_vectors;
  int64_t tiles;        // of the rows of x
  int64_t blocks;       // of tiles
  int64_t panel_bytes;  // of one panel
  int64_t panels;       // of W; gated: panels of G, each with one of U
  int64_t item_panels;  // of these in an item

  int64_t stride() const { return p.gated ? 2 * panel_bytes : panel_bytes; }
};

// Where row `row` of the packed x begins. A tile's rows are all in blocks of columns, see linear-tile.cpu.h.
int64_t packed_offset(int64_t row, int64_t K) { return row * ceil_divide(K, kBlockColumns) * kBlockColumns; }

void pack_tile(const Linear& p, Range rows, Range columns, float* packed) {
  packed += packed_offset(rows.begin, p.K) + columns.begin * rows.size();
  for (int64_t k = columns.begin; k < columns.end; k += kBlockColumns)
    for (int64_t m = rows.begin; m < rows.end; m++, packed += kBlockColumns) {
      const float* x = p.x + m * p.x_stride + k;
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

// Outputs n, n + 1, ... of the tile, which begin with vector v0 of the panel.
void multiply_tile_of(const Work& work, Range rows, const char* panel, int v0, int64_t n, Fetch fetch) {
  const Linear& p = work.p;
  const int columns = work.tile_vectors * kWidth;
  const int height = static_cast<int>(rows.size());
  const float* x = work.x + packed_offset(rows.begin, p.K);
  alignas(64) float sums[2][kTileRows * kPanelRows];
  // y is often far from the caches, and a tile's stores come all at once.
  for (int64_t m = rows.begin; m < rows.end; m++)
    for (int c = 0; c < columns; c += 16) __builtin_prefetch(p.y + m * p.y_stride + n + c, 1, 3);
  work.multiply[height - 1](x, panel, p.K, v0, fetch, sums[0]);
  if (p.gated) {
    fetch.next += work.panel_bytes;
    work.multiply[height - 1](x, panel + work.panel_bytes, p.K, v0, fetch, sums[1]);
  }
  work.finish(p, {sums[0], sums[1], rows.begin, n, height, columns});
}

// What the first pass over a panel fetches. Several passes share the next panel among them; a single one fetches what
// lies a little ahead, if arithmetic takes longer than memory, which is so from 2 rows a byte of a weight.
Fetch first_fetch(const Work& work, const char* panel, int64_t tiles) {
  constexpr int64_t kAhead = 16 * 1024;
  if (tiles > 1 || work.tile_vectors < kPanelVectors) return {panel + work.stride(), ceil_divide(64, tiles)};
  return work.p.M > 2 * size_of(work.p.weight_dtype) ? Fetch{panel + kAhead, 64} : Fetch{panel, 0};
}

void multiply_panel(const Work& work, Range tiles, int64_t index) {
  const Linear& p = work.p;
  const char* panel = static_cast<const char*>(p.weight) + index * work.stride();
  const int64_t pass_lines = work.panel_bytes / 64 * work.tile_vectors / kPanelVectors;
  Fetch fetch = first_fetch(work, panel, tiles.size());
  for (int v0 = 0; v0 < kPanelVectors; v0 += work.tile_vectors) {
    const int64_t n = index * kPanelRows + v0 * kWidth;
    for (int64_t t = tiles.begin; t < tiles.end && n < p.N; t++) {
      multiply_tile_of(work, part(p.M, work.tiles, t), panel, v0, n, fetch);
      fetch.next += pass_lines * fetch.step;
    }
  }
}

void multiply_item(const Work& work, int64_t item) {
  const Range tiles = part(work.tiles, work.blocks, item % work.blocks);
  const int64_t begin = item / work.blocks * work.item_panels;
  const int64_t end = smaller(begin + work.item_panels, work.panels);
  for (int64_t i = begin; i < end; i++) multiply_panel(work, tiles, i);
}

// Blocks of at most 132 rows, fewer where K is large: with a panel they shall fit into the second-level cache, but
// below 48 rows the weights are read too often.
int64_t count_blocks(const Linear& p, int64_t tiles) {
  constexpr int64_t kBlockBytes = 512 * 1024;
  const int64_t rows = smaller(larger(kBlockBytes / (p.K * 4), 48), 132);
  return smaller(ceil_divide(p.M, rows), tiles);
}

int64_t count_item_panels(const Work& work, int num_threads) {
  const Linear& p = work.p;
  // Several blocks: panels whose weights stay in the cache from one block to the next, and items enough for balance.
  if (work.blocks > 1) {
    const int64_t cached = smaller(4, (1024 * 1024) / work.stride());
    return larger(1, smaller(cached, work.panels * work.blocks / (16 * num_threads)));
  }
  // One: 64 to 128 KiB of weights, or arithmetic that takes as long (two multiply-adds for a byte).
  const int64_t arithmetic = p.M * p.K * kPanelRows * (p.gated ? 2 : 1) / 2;
  const int64_t cost = larger(work.stride(), arithmetic);
  const int64_t share = cost * work.panels / (4 * num_threads);
  return larger(1, larger(64 * 1024, smaller(share, 128 * 1024)) / cost);
}

template <typename W>
void select_tiles(Work& work) {
  const bool wide = work.p.M <= kWideRows;
  work.tile_vectors = wide ? kPanelVectors : kTileVectors;
  work.multiply = wide ? kWideTiles<W>.by_rows : kTiles<W>.by_rows;
}

void select_kernels(Work& work) {
  switch (work.p.weight_dtype) {
    case DType::kF16: select_tiles<F16Weights>(work); break;
    case DType::kBF16: select_tiles<BF16Weights>(work); break;
    default: select_tiles<F32Weights>(work);
  }
  work.finish = select_epilogue(work.p.activation, work.p.gated);
}

}  // namespace

void linear(const Linear& p, Execution& execution) {
  if (p.M == 0) return;
  Work work{.p = p};
  select_kernels(work);
  work.tiles = ceil_divide(p.M, kTileRows);
  work.blocks = count_blocks(p, work.tiles);
  work.panel_bytes = panel_bytes(p.weight_dtype, p.K);
  work.panels = panel_count(p.N);
  work.item_panels = count_item_panels(work, execution.pool.num_threads());
  work.x = p.x;
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
