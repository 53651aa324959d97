#pragma once

// From the sums of a tile to y: bias, activation, product with the ungated half, residual.

#include "device/cpu/rows.h"
#include "kernels/activation/activation-vector.h"
#include "kernels/linear/linear.h"
#include "types/panels.h"

namespace kvasir::KVASIR_ISA {

// The sums (rows, 32) of rows m, m + 1, ... and outputs n to n + 31: of W; gated: of G, and those of U.
// Outputs from N on are padding.
struct TileSums {
  const float* first;
  const float* second;
  int64_t m, n;
  int64_t rows;
};

using Epilogue = void(const Linear&, const TileSums&);

template <Activation kActivation, bool kGated>
static void finish_tile(const Linear& p, const TileSums& tile) {
  const int64_t n = tile.n, outputs = p.N - n;
  const float* bias = p.bias ? p.bias + n : nullptr;
  const float* first = tile.first;
  const float* second = tile.second;
  for (int64_t m = tile.m; m < tile.m + tile.rows; m++, first += kPanelRows, second += kPanelRows) {
    const float* residual = p.residual ? floats(p.residual) + m * p.residual_stride + n : nullptr;
    float* y = floats(p.y) + m * p.y_stride + n;
    auto finish = [&](int64_t c, auto lanes) {
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
    };
    for_each_vector(outputs < kPanelRows ? outputs : kPanelRows, finish);
  }
}

template <Activation kActivation>
static inline Epilogue* gated_or_not(bool gated) {
  return gated ? finish_tile<kActivation, true> : finish_tile<kActivation, false>;
}

static inline Epilogue* select_epilogue(Activation activation, bool gated) {
  switch (activation) {
    case Activation::kNone:
      break;
    case Activation::kRelu:
      return gated_or_not<Activation::kRelu>(gated);
    case Activation::kGelu:
      return gated_or_not<Activation::kGelu>(gated);
    case Activation::kGeluTanh:
      return gated_or_not<Activation::kGeluTanh>(gated);
    case Activation::kSilu:
      return gated_or_not<Activation::kSilu>(gated);
  }
  return gated_or_not<Activation::kNone>(gated);
}

}  // namespace kvasir::KVASIR_ISA
