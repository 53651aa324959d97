#include "kernels/activation/activation.cuh"

namespace kvasir::cuda {

ActivateCudaKernel activation;

void activation(const Activate& p, Execution& e) {
  with_type(p.dtype, [&](auto t) { launch_activation<decltype(t)>(p, e); });
}

}  // namespace kvasir::cuda
