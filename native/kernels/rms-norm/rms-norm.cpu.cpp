// One thread takes a row, or a head of one: a pass for the sum of squares, a pass that scales. A row's result depends on that
// row alone. 8 bytes move for every element, 4 more for each of residual and sum; all but the first pass find
// the row in the nearest cache.

#include "kernels/rms-norm/rms-norm.h"

#include "device/cpu/rows.h"
#include "kernels/layer-norm/residual-sum.cpu.h"

namespace kvasir::KVASIR_ISA {

// Where head i of all N*H begins, in a matrix whose rows lie `stride` apart.
static int64_t offset_of(const RmsNorm& p, int64_t i, int64_t stride) {
  return p.H == 1 ? i * stride : i / p.H * stride + i % p.H * p.C;
}

static void rms_norm_head(const RmsNorm& p, int64_t i) {
  float* y = floats(p.y) + offset_of(p, i, p.y_stride);
  const float* s =
      residual_sum(floats(p.x) + offset_of(p, i, p.x_stride),
                   p.residual ? floats(p.residual) + offset_of(p, i, p.residual_stride) : nullptr,
                   p.sum ? floats(p.sum) + offset_of(p, i, p.sum_stride) : nullptr, y, p.C);
  const Vec squares = sum_vectors(p.C, zero(), [&](int64_t c, auto lanes) {
    const Vec a = load(s + c, lanes);
    return a * a;
  });
  const float mean = reduce_add(squares) / static_cast<float>(p.C);
  const Vec scale = broadcast(1.0f / __builtin_sqrtf(mean + p.epsilon));
  if (p.weight == nullptr) {
    for_each_vector(p.C, [&](int64_t c, auto lanes) { store(y + c, load(s + c, lanes) * scale, lanes); });
  } else {
    for_each_vector(p.C, [&](int64_t c, auto lanes) {
      store(y + c, load(s + c, lanes) * scale * load(p.weight + c, lanes), lanes);
    });
  }
}

void rms_norm(const RmsNorm& p, Execution& execution) {
  parallel_rows(execution, p.N * p.H, p.C, [&](int64_t i, int) { rms_norm_head(p, i); });
}

}  // namespace kvasir::KVASIR_ISA
