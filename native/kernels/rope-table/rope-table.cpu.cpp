// Table of rotary angles on the CPU: tokens are divided among threads. Bound by the f64 sine and cosine, 20
// to 40 ns a pair.

#include "kernels/rope-table/rope-table.h"

#include <cmath>

#include "device/cpu/parallel.h"

namespace kvasir::KVASIR_ISA {

// Pairs a chunk handles at least, about 5 us of work.
static constexpr int64_t kChunkPairs = 256;

void rope_table(const RopeTable& r, Execution& execution) {
  if (r.P == 0) return;
  parallel_for(execution, r.N, (kChunkPairs + r.P - 1) / r.P, [&](int64_t begin, int64_t end, int) {
    for (int64_t n = begin; n < end; n++) {
      float* y = r.y + n * 2 * r.P;
      for (int64_t i = 0; i < r.P; i++) {
        const double angle = r.positions[n] * r.frequencies[i];
        y[i] = static_cast<float>(r.magnitude * ::cos(angle));
        y[r.P + i] = static_cast<float>(r.magnitude * ::sin(angle));
      }
    }
  });
}

}  // namespace kvasir::KVASIR_ISA
