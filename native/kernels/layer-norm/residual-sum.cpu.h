#pragma once

#include "device/cpu/rows.h"

namespace kvasir::KVASIR_ISA {

// Where the row s[c] = x[c] + residual[c] lies, for a norm that begins with it. It is formed in `sum`, or for
// want of that in y, and is x itself where there is nothing to add (residual null) and nothing to store.
static inline const float* residual_sum(const float* x, const float* residual, float* sum, float* y,
                                        int64_t C) {
  float* s = sum != nullptr ? sum : y;
  if (residual != nullptr) {
    for_each_vector(C, [&](int64_t c, auto lanes) {
      store(s + c, load(x + c, lanes) + load(residual + c, lanes), lanes);
    });
    return s;
  }
  if (sum != nullptr)
    for_each_vector(C, [&](int64_t c, auto lanes) { store(sum + c, load(x + c, lanes), lanes); });
  return x;
}

}  // namespace kvasir::KVASIR_ISA
