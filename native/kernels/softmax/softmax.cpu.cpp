// One thread takes a row: a pass for the maximum, one for e^(x - max) and its sum, one to divide.
//
// A row with a NaN, with +infinity, or of -infinity alone comes out as NaN, through the subtraction.

#include "kernels/softmax/softmax.h"

#include "device/cpu/rows.h"

namespace kvasir::KVASIR_ISA {

// NaN is passed over.
static float row_max(const float* x, int64_t C) {
  const Vec lowest = broadcast(-__builtin_inff());
  Vec m0 = lowest, m1 = lowest;
  int64_t c = 0;
  for (; c + 2 * kWidth <= C; c += 2 * kWidth) {
    m0 = max(load(x + c), m0);
    m1 = max(load(x + c + kWidth), m1);
  }
  for_each_vector(C - c,
                  [&](int64_t i, auto lanes) { m0 = max(keep(load(x + c + i, lanes), lanes, lowest), m0); });
  return reduce_max(max(m0, m1));
}

static void softmax_row(const float* x, float* y, int64_t C) {
  const Vec largest = broadcast(row_max(x, C));
  const Vec sum = sum_vectors(C, zero(), [&](int64_t c, auto lanes) {
    const Vec e = exp(load(x + c, lanes) - largest);
    store(y + c, e, lanes);
    return keep(e, lanes, zero());
  });
  const Vec scale = broadcast(1.0f / reduce_add(sum));
  for_each_vector(C, [&](int64_t c, auto lanes) { store(y + c, load(y + c, lanes) * scale, lanes); });
}

void softmax(const Softmax& p, Execution& execution) {
  parallel_rows(execution, p.N, p.C, [&](int64_t n, int) {
    softmax_row(floats(p.x) + n * p.x_stride, floats(p.y) + n * p.y_stride, p.C);
  });
}

}  // namespace kvasir::KVASIR_ISA
