#include "kernels/experts/experts.cuh"

namespace kvasir::cuda {

ExpertsCudaKernel experts;

void experts(const Experts& p, Execution& e) {
  with_type(p.dtype, [&](auto t) { launch_experts<decltype(t)>(p, e); });
}

}  // namespace kvasir::cuda
