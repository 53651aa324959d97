#include "kernels/attention/attention-hopper-launch.cuh"
#include "kernels/attention/attention-hopper.cuh"

namespace kvasir::cuda::attend {

template <class T>
bool launch_prefill_hopper(const Attention& p, const Arguments<T>& a, Execution& e) {
  const int64_t positions = p.cache.num_blocks * a.KH * 2 * kBlockKeys;  // of keys, and of values
  const bool takes = e.architecture >= 90 && e.architecture < 100 && e.shared_bytes >= kHopperSharedBytes &&
                     a.DP >= kStripChannels && positions <= INT32_MAX;
  if (!takes) return false;
  const TensorMap cache = ptx::tensor_map(dtype_of<T>, a.cache, positions, a.DP, a.DP * int64_t{sizeof(T)},
                                          kBlockKeys, kStripChannels);
  if (a.DP <= 64) {
    launch_hopper<T, 64>(p, a, cache, e);
  } else if (a.DP <= 128) {
    launch_hopper<T, 128>(p, a, cache, e);
  } else {
    launch_hopper<T, 256>(p, a, cache, e);
  }
  return true;
}

template bool launch_prefill_hopper(const Attention&, const Arguments<bf16>&, Execution&);
template bool launch_prefill_hopper(const Attention&, const Arguments<f16>&, Execution&);

}  // namespace kvasir::cuda::attend
