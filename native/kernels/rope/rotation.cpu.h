#pragma once

// The rotation of one head's channels. Products are rounded before they are summed, on every instruction set
// and in both layouts, so a head's bits depend on neither.

#include "device/cpu/vector.h"

namespace kvasir::KVASIR_ISA {

static inline void rotate_halves(const float* x, const float* cosines, const float* sines, int64_t P,
                                 float* y) {
  int64_t i = 0;
  for (; i + kWidth <= P; i += kWidth) {
    const Vec a = load(x + i), b = load(x + P + i), c = load(cosines + i), s = load(sines + i);
    store(y + i, a * c - b * s);
    store(y + P + i, b * c + a * s);
  }
  if (i == P) return;
  const int n = static_cast<int>(P - i);
  const Vec a = load_partial(x + i, n), b = load_partial(x + P + i, n);
  const Vec c = load_partial(cosines + i, n), s = load_partial(sines + i, n);
  store_partial(y + i, a * c - b * s, n);
  store_partial(y + P + i, b * c + a * s, n);
}

static inline void rotate_pairs(const float* x, const float* cosines, const float* sines, int64_t P,
                                float* y) {
  for (int64_t i = 0; i < P; i++) {
    const float a = x[2 * i], b = x[2 * i + 1];
    y[2 * i] = a * cosines[i] - b * sines[i];
    y[2 * i + 1] = b * cosines[i] + a * sines[i];
  }
}

// Rotates the first 2P of D channels by a row of the table (2P) and copies the others; y may be x.
static inline void rotate_head(const float* x, const float* table, int64_t D, int64_t P, bool interleaved,
                               float* y) {
  if (interleaved)
    rotate_pairs(x, table, table + P, P, y);
  else
    rotate_halves(x, table, table + P, P, y);
  if (y != x) std::memcpy(y + 2 * P, x + 2 * P, static_cast<size_t>(D - 2 * P) * sizeof(float));
}

}  // namespace kvasir::KVASIR_ISA
