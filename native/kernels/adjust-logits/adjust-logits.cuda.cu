#include "kernels/adjust-logits/adjust-logits.cuh"

namespace kvasir::cuda {

AdjustLogitsCudaKernel adjust_logits;

void adjust_logits(const AdjustLogits& p, Execution& e) {
  with_type(p.dtype, [&](auto t) { launch_adjust_logits<decltype(t)>(p, e); });
}

}  // namespace kvasir::cuda
