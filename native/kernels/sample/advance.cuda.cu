#include "kernels/sample/advance.cuh"

namespace kvasir::cuda {

AdvanceCudaKernel advance;

void advance(const Advance& p, Execution& e) {
  if (p.S == 0) return;
  launch(e, advance_kernel,
         {dim3(static_cast<unsigned>((p.S + kAdvanceThreads - 1) / kAdvanceThreads)), dim3(kAdvanceThreads)},
         p);
}

}  // namespace kvasir::cuda
