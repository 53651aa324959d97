#include "kernels/sample/sample.cuh"

namespace kvasir::cuda {

SampleCudaKernel sample;

void sample(const Sample& p, Execution& e) {
  with_type(p.dtype, [&](auto number) { sampling::launch_sample<decltype(number)>(p, e); });
}

}  // namespace kvasir::cuda
