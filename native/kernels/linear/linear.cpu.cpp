#include "kernels/linear/linear.h"

#include "device/cpu/parallel.h"
#include "kernels/linear/linear-epilogue.cpu.h"
#include "kernels/linear/linear-tile.cpu.h"

namespace kvasir::KVASIR_ISA {

namespace {

#ifndef ITEM_KB
#define ITEM_KB 192
#endif
#ifndef ITEM_MAC
#define ITEM_MAC (3<<20)
#endif
#ifndef SPLIT
#define SPLIT 4
#endif
#ifndef BLOCK_KB
#define BLOCK_KB 512
#endif
#ifndef BIGPF
#define BIGPF (1<<30)
#endif
#ifndef SEG
#define SEG 512
#endif
#ifndef MAXT
#define MAXT 4
#endif

struct Range {
  int64_t begin, end;
};

Range part(int64_t index, int64_t parts, int64_t total) {
  return {index * total / parts, (index + 1) * total / parts};
}

int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

struct Work {
  const Linear& p;
  MultiplyTile* const* multiply;
  Epilogue* finish;
  const float* packed;
  int64_t tiles, blocks, panels, group;
  int64_t panel_bytes;
};

int64_t packed_index(int64_t row, int64_t K) {
  return row * ((K + kBlockColumns - 1) / kBlockColumns * kBlockColumns);
}

TileRows tile_rows(const Work& work, Range rows) {
  const Linear& p = work.p;
  if (!work.packed) return {p.x + rows.begin * p.x_stride, p.x_stride, kBlockColumns};
  return {work.packed + packed_index(rows.begin, p.K), kBlockColumns, (rows.end - rows.begin) * kBlockColumns};
}

Fetch fetch_for(const Work& work, const char* panel, int64_t tile, int64_t tiles, int64_t bytes) {
  if ((tiles == 1 && kWideRows == kTileRows) || bytes > BIGPF) return {panel + 16384, 64};
  if (tiles > MAXT) return {panel, 0};
  int64_t step = (64 + tiles - 1) / tiles;
  return {panel + bytes + tile * (work.panel_bytes / 64) * step, step};
}

void multiply_item(const Work& work, int64_t item) {
  const Linear& p = work.p;
  alignas(64) float sums[2 * kTileRows * kPanelRows];
  const Range tiles = part(item % work.blocks, work.blocks, work.tiles);
  const int64_t begin = item / work.blocks * work.group;
  const int64_t end = smaller(begin + work.group, work.panels);
  const int64_t bytes = work.panel_bytes * (p.gated ? 2 : 1);
  for (int64_t i = begin; i < end; i++) {
    const char* panel = static_cast<const char*>(p.weight) + i * bytes;
    for (int64_t t = tiles.begin; t < tiles.end; t++) {
      const Range rows = part(t, work.tiles, p.M);
      const int count = static_cast<int>(rows.end - rows.begin);
      for (int64_t m = rows.begin; m < rows.end; m++) {
        const float* y = p.y + m * p.y_stride + i * kPanelRows;
        __builtin_prefetch(y, 1, 3);
        __builtin_prefetch(y + 16, 1, 3);
      }
      TileRows x = tile_rows(work, rows);
      Fetch fetch = fetch_for(work, panel, t - tiles.begin, tiles.end - tiles.begin, bytes);
      work.multiply[count - 1](x, panel, p.K, fetch, sums);
      float* second = sums + count * kPanelRows;
      if (p.gated) {
        fetch.next += work.panel_bytes;
        work.multiply[count - 1](x, panel + work.panel_bytes, p.K, fetch, second);
      }
      work.finish(p, {sums, second, rows.begin, i * kPanelRows, count});
    }
  }
}

void pack_tile(const Linear& p, Range rows, Range columns, float* packed) {
  packed += columns.begin * (rows.end - rows.begin);
  for (int64_t k = columns.begin; k < columns.end; k += kBlockColumns) {
    for (int64_t m = rows.begin; m < rows.end; m++, packed += kBlockColumns) {
      const float* x = p.x + m * p.x_stride + k;
      for_each_vector(smaller(columns.end - k, kBlockColumns),
                      [&](int64_t c, auto lanes) { store(packed + c, load(x + c, lanes)); });
    }
  }
}

const TileKernels& select_kernels(DType dtype) {
  switch (dtype) {
    case DType::kF16: return kTileKernels<F16Weights>;
    case DType::kBF16: return kTileKernels<BF16Weights>;
    default: return kTileKernels<F32Weights>;
  }
}

}  // namespace

void linear(const Linear& p, Execution& execution) {
  if (p.M == 0 || p.N == 0) return;
  const int64_t tiles = (p.M + kTileRows - 1) / kTileRows;
  float* packed = nullptr;
  if (p.M > kInPlaceRows) {
    packed = reinterpret_cast<float*>(execution.scratch);
    const int64_t segments = (p.K + SEG - 1) / SEG;
    parallel_for(execution, tiles * segments, 1, [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; i++) {
        const Range rows = part(i / segments, tiles, p.M);
        int64_t k = i % segments * SEG;
        pack_tile(p, rows, {k, smaller(k + SEG, p.K)}, packed + packed_index(rows.begin, p.K));
      }
    });
  }
  Work work{p, select_kernels(p.weight_dtype).by_rows, select_epilogue(p.activation, p.gated), packed, tiles, 1,
            panel_count(p.N), 1, panel_bytes(p.weight_dtype, p.K)};
  int64_t block_rows = smaller(larger(BLOCK_KB * 1024 / (p.K * 4), 48), 132);
  work.blocks = smaller((p.M + block_rows - 1) / block_rows, tiles);
  int64_t bytes = work.panel_bytes * (p.gated ? 2 : 1);
  int64_t macs = (p.M / work.blocks) * p.K * kPanelRows * (p.gated ? 2 : 1);
  work.group = smaller(smaller(ITEM_KB * 1024 / bytes, ITEM_MAC / macs), work.panels * work.blocks / (SPLIT * execution.pool.num_threads()));
  if (work.group < 1) work.group = 1;
  const int64_t items = (work.panels + work.group - 1) / work.group * work.blocks;
  const bool small = p.M * p.N * p.K < 65536;
  parallel_for(execution, items, small ? items : 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t item = begin; item < end; item++) multiply_item(work, item);
  });
}

}  // namespace kvasir::KVASIR_ISA
