#include "kernels/linear/linear-variants.cuh"

namespace kvasir::cuda {

LinearCudaKernel linear;

void linear(const Linear& p, Execution& e) {
  if (p.M == 0) return;
  if (linear_stream(p, {p.x, p.x_stride}, e)) return;
  if (is_blocked(p.weight_dtype)) return linear_blocks(p, e);
  if (p.dtype == DType::kF32) return linear_simt(p, e);
  if (linear_hopper(p, e)) return;
  if (p.M <= kMiddleMaxRows) return linear_middle(p, e);
  linear_prefill(p, e);
}

}  // namespace kvasir::cuda
