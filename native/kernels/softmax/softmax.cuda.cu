#include "kernels/softmax/softmax.cuh"

namespace kvasir::cuda {

SoftmaxCudaKernel softmax;

void softmax(const Softmax& p, Execution& e) {
  with_type(p.dtype, [&](auto t) { launch_softmax<decltype(t)>(p, e); });
}

}  // namespace kvasir::cuda
