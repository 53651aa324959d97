#include "kernels/scale/scale.cuh"

namespace kvasir::cuda {

ScaleCudaKernel scale;

void scale(const Scale& p, Execution& e) {
  with_type(p.dtype, [&](auto t) { launch_groups(e, scale_kernel<decltype(t)>, p.N, p.C, p); });
}

}  // namespace kvasir::cuda
