#include "kernels/softcap/softcap.cuh"

namespace kvasir::cuda {

SoftcapCudaKernel softcap;

void softcap(const Softcap& p, Execution& e) {
  with_type(p.dtype, [&](auto t) { launch_groups(e, softcap_kernel<decltype(t)>, p.N, p.C, p); });
}

}  // namespace kvasir::cuda
