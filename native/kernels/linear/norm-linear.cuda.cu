// A norm and the linear layer that reads it: in one kernel where that has few rows, else one after the other,
// the norm's y in e.scratch.

#include "kernels/linear/linear-variants.cuh"

namespace kvasir::cuda {

LinearCudaKernel linear;
LayerNormCudaKernel layer_norm;
LayerNormLinearCudaKernel layer_norm_linear;
RmsNormCudaKernel rms_norm;
RmsNormLinearCudaKernel rms_norm_linear;

namespace {

template <class Norm>
void one_after_the_other(Norm norm, Linear p, Execution e, void (*normalise)(const Norm&, Execution&)) {
  norm.y = e.scratch;
  norm.y_stride = (p.K + 63) / 64 * 64;
  e.scratch += linear_cuda_rows_bytes(p.M, p.K);
  normalise(norm, e);
  p.x = norm.y;
  p.x_stride = norm.y_stride;
  linear(p, e);
}

}  // namespace

void rms_norm_linear(const RmsNorm& norm, const Linear& p, Execution& e) {
  if (p.M == 0) return;
  const LinearInput input{norm.x, norm.x_stride, InputNorm::kRms, norm.weight, nullptr, norm.epsilon};
  if (!linear_stream(p, input, e)) one_after_the_other(norm, p, e, rms_norm);
}

void layer_norm_linear(const LayerNorm& norm, const Linear& p, Execution& e) {
  if (p.M == 0) return;
  const LinearInput input{norm.x, norm.x_stride, InputNorm::kLayer, norm.weight, norm.bias, norm.epsilon};
  if (!linear_stream(p, input, e)) one_after_the_other(norm, p, e, layer_norm);
}

}  // namespace kvasir::cuda
