// One thread takes a row: a pass for the mean, one for the variance, one that normalises. A row's result
// depends on that row alone. 8 bytes move for every element, 4 more for each of residual and sum; all but the
// first pass find the row in the nearest cache.

#include "kernels/layer-norm/layer-norm.h"

#include "device/cpu/rows.h"
#include "kernels/layer-norm/residual-sum.cpu.h"

namespace kvasir::KVASIR_ISA {

// The mean is high + low: high as f32 could hold it, low what the differences from it still average to.
// Without low a row of equal numbers far from zero would come out as +-1 instead of 0.
struct Statistics {
  float high, low;
  float rstd;  // 1 / sqrt(variance + epsilon)
};

// Sums over the differences from the mean.
struct Moments {
  Vec first, second;
};
static inline Moments operator+(Moments a, Moments b) { return {a.first + b.first, a.second + b.second}; }

static Statistics statistics(const float* s, int64_t C, float epsilon) {
  const float count = static_cast<float>(C);
  const Vec sum = sum_vectors(C, zero(), [&](int64_t c, auto lanes) { return load(s + c, lanes); });
  const float high = reduce_add(sum) / count;
  const Vec mean = broadcast(high);
  const Moments moments = sum_vectors(C, Moments{zero(), zero()}, [&](int64_t c, auto lanes) {
    const Vec d = keep(load(s + c, lanes) - mean, lanes, zero());
    return Moments{d, d * d};
  });
  const float low = reduce_add(moments.first) / count;
  const float variance = reduce_add(moments.second) / count - low * low;
  return {high, low, 1.0f / __builtin_sqrtf((variance < 0 ? 0 : variance) + epsilon)};
}

static void layer_norm_row(const LayerNorm& p, int64_t n) {
  float* y = floats(p.y) + n * p.y_stride;
  const float* s = residual_sum(floats(p.x) + n * p.x_stride,
                                p.residual ? floats(p.residual) + n * p.residual_stride : nullptr,
                                p.sum ? floats(p.sum) + n * p.sum_stride : nullptr, y, p.C);
  Statistics row = statistics(s, p.C, p.epsilon);
  const Vec high = broadcast(row.high), low = broadcast(row.low), rstd = broadcast(row.rstd);
  for_each_vector(p.C, [&](int64_t c, auto lanes) {
    Vec a = (load(s + c, lanes) - high - low) * rstd;
    if (p.weight != nullptr) a = a * load(p.weight + c, lanes);
    if (p.bias != nullptr) a = a + load(p.bias + c, lanes);
    store(y + c, a, lanes);
  });
}

void layer_norm(const LayerNorm& p, Execution& execution) {
  parallel_rows(execution, p.N, p.C, [&](int64_t n, int) { layer_norm_row(p, n); });
}

}  // namespace kvasir::KVASIR_ISA
