#include "kernels/kv-append/kv-append.cuh"

namespace kvasir::cuda {

KvAppendCudaKernel kv_append;

void kv_append(const KvAppend& p, Execution& e) {
  with_type(p.dtype, [&](auto t) { launch_kv_append<decltype(t)>(p, e); });
}

}  // namespace kvasir::cuda
