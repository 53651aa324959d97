// Rotary embedding on the CPU: tokens are divided among threads, one head after another within a token. Bound
// by memory: reads and writes x once.

#include "kernels/rope/rope.h"

#include "device/cpu/parallel.h"
#include "kernels/rope/rotation.cpu.h"

namespace kvasir::KVASIR_ISA {

// Elements a chunk handles at least, about 5 us of work.
static constexpr int64_t kChunkElements = 1 << 14;

void rope(const Rope& r, Execution& execution) {
  const int64_t grain = kChunkElements / (r.H * r.D) + 1;
  parallel_for(execution, r.N, grain, [&](int64_t begin, int64_t end, int) {
    for (int64_t n = begin; n < end; n++) {
      for (int64_t h = 0; h < r.H; h++) {
        const float* x = floats(r.x) + n * r.x_stride + h * r.D;
        rotate_head(x, r.table + n * 2 * r.P, r.D, r.P, r.interleaved,
                    floats(r.y) + n * r.y_stride + h * r.D);
      }
    }
  });
}

}  // namespace kvasir::KVASIR_ISA
