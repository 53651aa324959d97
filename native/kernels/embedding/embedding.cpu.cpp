// One thread copies a token's row; the weight's bytes of that row and 4 C bytes move. In panels the row's
// elements lie 64 or 128 bytes apart, so every one or two of them cost a cache line: 1 to 3 us for C = 2048. Blocked
// types have four or eight in a line.

#include "kernels/embedding/embedding.h"

#include <cstring>

#include "device/cpu/rows.h"
#include "types/panel-blocks.h"

namespace kvasir::KVASIR_ISA {

static Vec widen(const uint16_t* w, DType dtype) {
  return dtype == DType::kBF16 ? load_bf16(w) : load_f16(w);
}

static void copy_from_rows(const Embedding& p, int64_t id, float* y) {
  if (p.weight_dtype == DType::kF32) {
    std::memcpy(y, static_cast<const float*>(p.weight) + id * p.C, static_cast<size_t>(p.C) * sizeof(float));
    return;
  }
  const uint16_t* w = static_cast<const uint16_t*>(p.weight) + id * p.C;
  int64_t c = 0;
  for (; c + kWidth <= p.C; c += kWidth) store(y + c, widen(w + c, p.weight_dtype));
  if (c == p.C) return;
  const int n = static_cast<int>(p.C - c);
  uint16_t lanes[kWidth] = {};
  std::memcpy(lanes, w + c, static_cast<size_t>(n) * sizeof(uint16_t));
  store_partial(y + c, widen(lanes, p.weight_dtype), n);
}

static void copy_from_panels(const Embedding& p, int64_t id, float* y) {
  if (p.weight_dtype == DType::kF32) {
    const float* w = static_cast<const float*>(p.weight);
    for (int64_t c = 0; c < p.C; c++) y[c] = w[panel_index(DType::kF32, p.C, id, c)];
    return;
  }
  const uint16_t* w = static_cast<const uint16_t*>(p.weight);
  for (int64_t c = 0; c < p.C; c += kWidth) {
    const int n = static_cast<int>(p.C - c < kWidth ? p.C - c : kWidth);
    uint16_t lanes[kWidth] = {};
    for (int i = 0; i < n; i++) lanes[i] = w[panel_index(p.weight_dtype, p.C, id, c + i)];
    store_partial(y + c, widen(lanes, p.weight_dtype), n);
  }
}

static float from_f16(uint16_t bits) {
  const uint16_t lanes[kWidth] = {bits};
  alignas(64) float numbers[kWidth];
  store(numbers, load_f16(lanes));
  return numbers[0];
}

static void decode(const Q8Block& block, int64_t count, float* y) {
  const float scale = from_f16(block.scale);
  for (int64_t i = 0; i < count; i++) y[i] = scale * static_cast<float>(block.q[i]);
}

static void decode(const Q4Block& block, int64_t count, float* y) {
  const float scale = from_f16(block.scale), min = from_f16(block.min);
  for (int64_t i = 0; i < count; i++) {
    const int u = i < kBlockColumns / 2 ? block.q[i] & 15 : block.q[i - kBlockColumns / 2] >> 4;
    y[i] = scale * static_cast<float>(u) + min;
  }
}

template <class Stored>
static void copy_blocks(const Embedding& p, int64_t id, float* y) {
  constexpr DType kType = kTypeOf<Stored>;
  const auto* weight = static_cast<const uint8_t*>(p.weight);
  const bool in_panels = p.weight_layout == Layout::kPanels;
  weight += in_panels ? id / kPanelRows * panel_bytes(kType, p.C) : id * row_bytes(kType, p.C);
  for (int64_t c = 0; c < p.C; c += kBlockColumns) {
    Stored block;
    if (in_panels) {
      load_from_panel(weight, id % kPanelRows, block);
    } else {
      std::memcpy(&block, weight, sizeof block);
    }
    decode(block, p.C - c < kBlockColumns ? p.C - c : kBlockColumns, y + c);
    weight += in_panels ? panel_block_bytes(kType) : block_bytes(kType);
  }
}

void embedding(const Embedding& p, Execution& execution) {
  parallel_rows(execution, p.N, p.C, [&](int64_t n, int) {
    float* y = floats(p.y) + n * p.y_stride;
    if (p.weight_dtype == DType::kQ8) {
      copy_blocks<Q8Block>(p, p.ids[n], y);
    } else if (p.weight_dtype == DType::kQ4) {
      copy_blocks<Q4Block>(p, p.ids[n], y);
    } else if (p.weight_layout == Layout::kRows) {
      copy_from_rows(p, p.ids[n], y);
    } else {
      copy_from_panels(p, p.ids[n], y);
    }
  });
}

}  // namespace kvasir::KVASIR_ISA
