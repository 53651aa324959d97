#include "kernels/gather-rows/gather-rows.cuh"

namespace kvasir::cuda {

GatherRowsCudaKernel gather_rows;

void gather_rows(const GatherRows& p, Execution& e) {
  with_type(p.dtype, [&](auto t) { launch_groups(e, gather_rows_kernel<decltype(t)>, p.R, p.C, p); });
}

}  // namespace kvasir::cuda
