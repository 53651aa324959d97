#include "kernels/linear/linear-hopper.cuh"
#include "kernels/linear/linear-variants.cuh"

namespace kvasir::cuda {

bool linear_hopper(const Linear& p, Execution& e) {
  const bool takes = is_hopper(e) && e.shared_bytes >= kHopperSharedBytes &&
                     rows_aligned(p.x, p.x_stride, p.dtype) && p.dtype != DType::kF32;
  if (!takes) return false;
  if (p.M == 0 || p.N == 0) return true;
  const HopperProblem problem = hopper_problem(p, e);
  with_half_type(p.dtype, [&](auto type) {
    using T = decltype(type);
    if (p.y_dtype == DType::kF32) {
      launch_fastest<T, float, 16, 32, 64, 128>(p, problem, e);
    } else {
      launch_fastest<T, T, 16, 32, 64, 128, 192, 208>(p, problem, e);
    }
  });
  return true;
}

}  // namespace kvasir::cuda
