#include "kernels/rms-norm/rms-norm.cuh"

namespace kvasir::cuda {

RmsNormCudaKernel rms_norm;

void rms_norm(const RmsNorm& p, Execution& e) {
  with_type(p.dtype, [&](auto t) { launch_norm(e, rms_norm_kernel<decltype(t)>, p, p.N * p.H); });
}

}  // namespace kvasir::cuda
