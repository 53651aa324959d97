#include "kernels/top-logits/top-logits.cuh"

namespace kvasir::cuda {

TopLogitsCudaKernel top_logits;

void top_logits(const TopLogits& p, Execution& e) {
  with_type(p.dtype, [&](auto t) { sampling::launch_top_logits<decltype(t)>(p, e); });
}

}  // namespace kvasir::cuda
