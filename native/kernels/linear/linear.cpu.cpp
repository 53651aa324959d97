#include "kernels/linear/linear.h"

#include "device/cpu/parallel.h"
#include "kernels/linear/linear-epilogue.cpu.h"
#include "kernels/linear/linear-tile.cpu.h"

namespace kvasir::KVASIR_ISA {

namespace {

#ifndef BLOCK_KB
#define BLOCK_KB 512
#endif
#ifndef ITEM_KB
#define ITEM_KB 96
#endif
#ifndef ITEM_PANELS
#define ITEM_PANELS 4
#endif

struct Range {
  int64_t begin, end;
};

Range part(int64_t index, int64_t parts, int64_t total) {
  return {index * total / parts, (index + 1) * total / parts};
}

struct Work {
  const Linear& p;
  MultiplyTile* const* multiply;
  Epilogue* finish;
  const float* x;
  int64_t tiles, blocks;
  int64_t panel_bytes;
  int64_t panels;
  int64_t group;
};

void multiply_item(const Work& work, int64_t item) {
  const Linear& p = work.p;
  alignas(64) float sums[2 * kTileRows * kPanelRows];
  const Range tiles = part(item % work.blocks, work.blocks, work.tiles);
  const int64_t begin = item / work.blocks * work.group;
  const int64_t end = begin + work.group < work.panels ? begin + work.group : work.panels;
  for (int64_t i = begin; i < end; i++) {
    const char* panel = static_cast<const char*>(p.weight) + i * work.panel_bytes * (p.gated ? 2 : 1);
    for (int64_t t = tiles.begin; t < tiles.end; t++) {
      const Range rows = part(t, work.tiles, p.M);
      const int count = static_cast<int>(rows.end - rows.begin);
      const float* x = work.x + packed_elements(rows.begin, p.K);
      work.multiply[count - 1](x, panel, p.K, sums);
      float* second = sums + count * kPanelRows;
      if (p.gated) work.multiply[count - 1](x, panel + work.panel_bytes, p.K, second);
      work.finish(p, {sums, second, rows.begin, i * kPanelRows, count});
    }
  }
}

void pack_tile(const Linear& p, Range rows, float* packed) {
  for (int64_t k = 0; k < p.K; k += kPackedColumns) {
    const int64_t columns = p.K - k < kPackedColumns ? p.K - k : kPackedColumns;
    for (int64_t m = rows.begin; m < rows.end; m++, packed += kPackedColumns) {
      const float* x = p.x + m * p.x_stride + k;
      for_each_vector(columns, [&](int64_t c, auto lanes) { store(packed + c, load(x + c, lanes)); });
    }
  }
}

const TileKernels& select_kernels(DType dtype) {
  switch (dtype) {
    case DType::kF16:
      return kTileKernels<F16Weights>;
    case DType::kBF16:
      return kTileKernels<BF16Weights>;
    default:
      return kTileKernels<F32Weights>;
  }
}

}  // namespace

void linear(const Linear& p, Execution& execution) {
  if (p.M == 0 || p.N == 0) return;
  const int64_t tiles = (p.M + kTileRows - 1) / kTileRows;
  const float* x = p.x;
  if (p.M > 1) {
    float* packed = reinterpret_cast<float*>(execution.scratch);
    const int64_t tile_bytes = p.K * 4 * (p.M / tiles);
    parallel_for(execution, tiles, (128 * 1024 + tile_bytes - 1) / tile_bytes,
                 [&](int64_t begin, int64_t end, int) {
                   for (int64_t t = begin; t < end; t++) {
                     const Range rows = part(t, tiles, p.M);
                     pack_tile(p, rows, packed + packed_elements(rows.begin, p.K));
                   }
                 });
    x = packed;
  }
  Work work{p,
            select_kernels(p.weight_dtype).by_rows,
            select_epilogue(p.activation, p.gated),
            x,
            tiles,
            1,
            panel_bytes(p.weight_dtype, p.K),
            panel_count(p.N),
            1};
  int64_t block_rows = BLOCK_KB * 1024 / (p.K * 4);
  if (block_rows < 48) block_rows = 48;
  if (block_rows > 132) block_rows = 132;
  work.blocks = (p.M + block_rows - 1) / block_rows;
  if (work.blocks > tiles) work.blocks = tiles;
  int64_t bytes = work.panel_bytes * (p.gated ? 2 : 1);
  work.group = work.blocks > 1 ? ITEM_PANELS : ITEM_KB * 1024 / bytes;
  if (work.group < 1) work.group = 1;
  const int64_t items = (work.panels + work.group - 1) / work.group * work.blocks;
  const bool small = p.M * p.N * p.K < 65536;
  parallel_for(execution, items, small ? items : 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t item = begin; item < end; item++) multiply_item(work, item);
  });
}

}  // namespace kvasir::KVASIR_ISA
