#pragma once

#include "kernels/attention/attention-rows.cuh"

namespace kvasir::cuda::attend {

// attention-hopper.cuh for the sequences that decoding does not take. False, and nothing launched, where it does not take
// the layer: another architecture, too little shared memory, or heads so small that the copies would be mostly padding.
// Defined for bf16 and f16.
template <class T>
bool launch_prefill_hopper(const Attention& p, const Arguments<T>& a, Execution& e);

}  // namespace kvasir::cuda::attend
