#pragma once

#include "kernels/sample/philox.cuh"
#include "kernels/sample/row.cuh"

namespace kvasir::cuda::sampling {

// How one row's token is chosen.
struct Rules {
  float inverse;  // 1 / temperature, finite and not 0: never NaN times a difference of logits
  int top_k;      // 0 for all
  float typical_p, top_p, min_p;
  bool greedy;
  int forced;  // id, -1 for none

  __device__ bool typical() const { return typical_p < 1; }
  __device__ bool filter() const { return !greedy && (top_k > 0 || typical() || top_p < 1 || min_p > 0); }
};

__device__ __forceinline__ float clamp_to_normal(float x) {
  return x < FLT_MIN ? FLT_MIN : x < FLT_MAX ? x : FLT_MAX;
}

// Without `kAdjusted` it is known that nothing is typical and nothing forced.
template <bool kAdjusted>
__device__ __forceinline__ Rules rules_of(const Sample& p, int64_t r) {
  Rules rules{};
  const float temperature = p.temperature[r];
  const int top_k = p.top_k[r];
  rules.greedy = !(temperature > 0);
  rules.inverse = clamp_to_normal(1.0f / temperature);
  rules.top_k = top_k > 0 && top_k < p.V ? top_k : 0;
  rules.top_p = p.top_p[r];
  rules.min_p = p.min_p[r];
  rules.typical_p = kAdjusted ? p.typical_p[r] : 1.0f;
  rules.forced = kAdjusted ? p.forced[r] : -1;
  return rules;
}

__device__ __forceinline__ double uniform_of(const Sample& p, int64_t r) {
  return philox_uniform(static_cast<uint32_t>(p.counter[r]), static_cast<uint32_t>(p.seed[2 * r]),
                        static_cast<uint32_t>(p.seed[2 * r + 1]));
}

}  // namespace kvasir::cuda::sampling
