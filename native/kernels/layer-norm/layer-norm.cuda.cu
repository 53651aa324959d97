#include "kernels/layer-norm/layer-norm.cuh"

namespace kvasir::cuda {

LayerNormCudaKernel layer_norm;

void layer_norm(const LayerNorm& p, Execution& e) {
  with_type(p.dtype, [&](auto t) { launch_norm(e, layer_norm_kernel<decltype(t)>, p, p.N); });
}

}  // namespace kvasir::cuda
