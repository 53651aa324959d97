#include "kernels/add/add.cuh"

namespace kvasir::cuda {

AddCudaKernel add;

void add(const Add& p, Execution& e) {
  with_type(p.dtype, [&](auto t) { launch_groups(e, add_kernel<decltype(t)>, p.N, p.C, p); });
}

}  // namespace kvasir::cuda
