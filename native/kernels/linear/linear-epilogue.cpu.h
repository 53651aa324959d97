#pragma once

// From the sums of a tile to y: bias, activation, product with the ungated half, residual.

#include "device/cpu/rows.h"
#include "kernels/activation/activation-vector.h"
#include "kernels/linear/linear.h"
#include "runtime/panels.h"

namespace kvasir::KVASIR_ISA {

// The sums (rows, 32) of rows m, m + 1, ... and outputs n to n + 31; gated: of G, then those of U.
struct TileSums {
  const float* first;
  const float* second;
  int64_t m, n;
  int rows;
};

using Epilogue = void(const Linear&, const TileSums&);

template <Activation kActivation, bool kGated>
static void finish_tile(const Linear& p, const TileSums& tile) {
  const int64_t outputs = p.N - tile.n < kPanelRows ? p.N - tile.n : kPanelRows;
  const float* bias = p.bias ? p.bias + tile.n : nullptr;
  for (int r = 0; r < tile.rows; r++) {
    const float* first = tile.first + r * kPanelRows;
    const float* second = tile.second + r * kPanelRows;
    const float* residual = p.residual ? p.residual + (tile.m + r) * p.residual_stride + tile.n : nullptr;
    float* y = p.y + (tile.m + r) * p.y_stride + tile.n;
    for_each_vector(outputs, [&](int64_t c, auto lanes) {
      Vec a = load(first + c);
      if (bias) a = a + load(bias + c, lanes);
      a = activate<kActivation>(a);
      if constexpr (kGated) {
        Vec b = load(second + c);
        if (bias) b = b + load(bias + p.N + c, lanes);
        a = a * b;
      }
      if (residual) a = a + load(residual + c, lanes);
      store(y + c, a, lanes);
    });
  }
}

template <Activation kActivation>
static inline Epilogue* epilogue(bool gated) {
  return gated ? finish_tile<kActivation, true> : finish_tile<kActivation, false>;
}

static inline Epilogue* select_epilogue(Activation activation, bool gated) {
  switch (activation) {
    case Activation::kNone: break;
    case Activation::kRelu: return epilogue<Activation::kRelu>(gated);
    case Activation::kGelu: return epilogue<Activation::kGelu>(gated);
    case Activation::kGeluTanh: return epilogue<Activation::kGeluTanh>(gated);
    case Activation::kSilu: return epilogue<Activation::kSilu>(gated);
  }
  return epilogue<Activation::kNone>(gated);
}

}  // namespace kvasir::KVASIR_ISA
