// Pieces of rows are shared among the threads; 12 bytes move for every element.

#include "kernels/add/add.h"

#include "device/cpu/rows.h"

namespace kvasir::KVASIR_ISA {

void add(const Add& p, Execution& execution) {
  parallel_pieces(execution, p.N, p.C, [&](int64_t n, int64_t c, int64_t count) {
    const float* a = floats(p.a) + n * p.a_stride + c;
    const float* b = floats(p.b) + n * p.b_stride + c;
    float* y = floats(p.y) + n * p.y_stride + c;
    for_each_vector(
        count, [&](int64_t i, auto lanes) { store(y + i, load(a + i, lanes) + load(b + i, lanes), lanes); });
  });
}

}  // namespace kvasir::KVASIR_ISA
