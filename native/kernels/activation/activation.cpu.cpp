// Pieces of rows are shared among the threads; 8 bytes move for every element, 12 where gated.

#include "kernels/activation/activation.h"

#include "device/cpu/rows.h"
#include "kernels/activation/activation-vector.h"

namespace kvasir::KVASIR_ISA {

template <Activation A>
static void run(const Activate& p, Execution& execution) {
  parallel_pieces(execution, p.N, p.C, [&](int64_t n, int64_t c, int64_t count) {
    const float* x = floats(p.x) + n * p.x_stride + c;
    float* y = floats(p.y) + n * p.y_stride + c;
    if (p.up == nullptr) {
      for_each_vector(count,
                      [&](int64_t i, auto lanes) { store(y + i, activate<A>(load(x + i, lanes)), lanes); });
    } else {
      const float* up = floats(p.up) + n * p.up_stride + c;
      for_each_vector(count, [&](int64_t i, auto lanes) {
        store(y + i, activate<A>(load(x + i, lanes)) * load(up + i, lanes), lanes);
      });
    }
  });
}

void activation(const Activate& p, Execution& execution) {
  switch (p.kind) {
    case Activation::kNone:
      return run<Activation::kNone>(p, execution);
    case Activation::kRelu:
      return run<Activation::kRelu>(p, execution);
    case Activation::kGelu:
      return run<Activation::kGelu>(p, execution);
    case Activation::kGeluTanh:
      return run<Activation::kGeluTanh>(p, execution);
    case Activation::kSilu:
      return run<Activation::kSilu>(p, execution);
  }
}

}  // namespace kvasir::KVASIR_ISA
