#pragma once

#include "device/cuda/cuda.h"

namespace kvasir::cuda::sampling {

// A number in [0,1): the first 53 bits of Philox4x32-10, ten rounds of a bijection of the counter that the key
// selects. Salmon, Moraes, Dror & Shaw 2011, https://doi.org/10.1145/2063384.2063405
__device__ __forceinline__ double philox_uniform(uint32_t counter, uint32_t key0, uint32_t key1) {
  uint32_t x0 = counter, x1 = 0, x2 = 0, x3 = 0;
#pragma unroll 1
  for (int round = 0; round < 10; round++) {
    const uint64_t a = uint64_t{0xD2511F53u} * x0, b = uint64_t{0xCD9E8D57u} * x2;
    x0 = static_cast<uint32_t>(b >> 32) ^ x1 ^ key0;
    x1 = static_cast<uint32_t>(b);
    x2 = static_cast<uint32_t>(a >> 32) ^ x3 ^ key1;
    x3 = static_cast<uint32_t>(a);
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  return static_cast<double>((uint64_t{x0} << 21) | (x1 >> 11)) * 0x1p-53;
}

}  // namespace kvasir::cuda::sampling
