#include "kernels/linear/linear.h"

#include "device/cpu/parallel.h"
#include "kernels/linear/linear-epilogue.cpu.h"
#include "kernels/linear/linear-tile.cpu.h"

namespace kvasir::KVASIR_ISA {

namespace {

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

Fetch fetch_for(const Work& work, const char* panel, int64_t tile, int64_t tiles, int64_t bytes) {
  const Linear& p = work.p;
  if (p.M <= 2 * size_of(p.weight_dtype) || tiles > MAXT) return {panel, 0};
  if (tiles == 1 && kWideRows == kTileRows) return {panel + 16384, 64};
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
      const float* x = work.packed + packed_index(rows.begin, p.K);
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
  const float* packed = p.x;
  if (p.M > 1) {
    float* to = reinterpret_cast<float*>(execution.scratch);
    constexpr int64_t kSegment = 512;
    const int64_t segments = (p.K + kSegment - 1) / kSegment;
    const int64_t grain = 16384 / (p.M / tiles * kSegment * 4);
    parallel_for(execution, tiles * segments, grain, [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; i++) {
        const Range rows = part(i / segments, tiles, p.M);
        int64_t k = i % segments * kSegment;
        pack_tile(p, rows, {k, smaller(k + kSegment, p.K)}, to + packed_index(rows.begin, p.K));
      }
    });
    packed = to;
  }
  Work work{p, select_kernels(p.weight_dtype).by_rows, select_epilogue(p.activation, p.gated), packed, tiles, 1,
            panel_count(p.N), 1, panel_bytes(p.weight_dtype, p.K)};
  int64_t block_rows = smaller(larger(512 * 1024 / (p.K * 4), 48), 132);
  work.blocks = smaller((p.M + block_rows - 1) / block_rows, tiles);
  const int64_t halves = p.gated ? 2 : 1;
  const int64_t cost = halves * larger(work.panel_bytes, p.M / work.blocks * p.K * kPanelRows / 2);
  const int64_t share = cost * work.panels * work.blocks / (4 * execution.pool.num_threads());
  work.group = larger(1, larger(smaller(share, 128 * 1024), 64 * 1024) / cost);
  const int64_t items = (work.panels + work.group - 1) / work.group * work.blocks;
  parallel_for(execution, items, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t item = begin; item < end; item++) multiply_item(work, item);
  });
}

}  // namespace kvasir::KVASIR_ISA
