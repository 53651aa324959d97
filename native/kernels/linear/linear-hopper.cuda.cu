#include "kernels/linear/linear-hopper.cuh"
#include "kernels/linear/linear-variants.cuh"

namespace kvasir::cuda {

bool linear_hopper(const Linear& p, Execution& e) {
  const bool takes = e.architecture >= 90 && e.architecture < 100 && e.shared_bytes >= kHopperSharedBytes &&
                     rows_aligned(p.x, p.x_stride, p.dtype) && p.dtype != DType::kF32;
  if (!takes) return false;
  if (p.M == 0 || p.N == 0) return true;
  const HopperProblem problem = hopper_problem(p);
  with_half_type(p.dtype, [&](auto type) {
    using T = decltype(type);
    if (p.y_dtype == DType::kF32) {
      launch_cheapest<T, float, 64, 128>(p, problem, e);
    } else {
      launch_cheapest<T, T, 64, 128, 192, 208>(p, problem, e);
    }
  });
  return true;
}

}  // namespace kvasir::cuda
