#include "kernels/linear/linear-prefill.cuh"
#include "kernels/linear/linear-variants.cuh"

namespace kvasir::cuda {

void linear_prefill(const Linear& p, Execution& e) {
  if (p.M == 0 || p.N == 0) return;
  const PrefillProblem problem = prefill_problem(p);
  with_half_type(p.dtype, [&](auto type) {
    using T = decltype(type);
    if (prefill_takes_large_tiles(problem, e.multiprocessors)) {
      launch_prefill<T, 128, 128>(problem, e);
    } else {
      launch_prefill<T, 64, 64>(problem, e);
    }
  });
}

}  // namespace kvasir::cuda
