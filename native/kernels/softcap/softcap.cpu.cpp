// Pieces of rows are shared among the threads; 8 bytes move for every element.

#include "kernels/softcap/softcap.h"

#include "device/cpu/rows.h"

namespace kvasir::KVASIR_ISA {

void softcap(const Softcap& p, Execution& execution) {
  const Vec cap = broadcast(p.cap);
  parallel_pieces(execution, p.N, p.C, [&](int64_t n, int64_t c, int64_t count) {
    const float* x = floats(p.x) + n * p.x_stride + c;
    float* y = floats(p.y) + n * p.y_stride + c;
    for_each_vector(
        count, [&](int64_t i, auto lanes) { store(y + i, cap * tanh(load(x + i, lanes) / cap), lanes); });
  });
}

}  // namespace kvasir::KVASIR_ISA
