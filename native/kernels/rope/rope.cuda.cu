#include "kernels/rope/rope.cuh"

namespace kvasir::cuda {

RopeCudaKernel rope;

void rope(const Rope& p, Execution& e) {
  with_type(p.dtype, [&](auto t) { launch_rope<decltype(t)>(p, e); });
}

}  // namespace kvasir::cuda
