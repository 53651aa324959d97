#pragma once

#include <cstdint>

namespace kvasir::KVASIR_ISA {

struct Philox {
  uint32_t x[4];
};

// Philox4x32-10, a counter-based random generator: ten rounds of a bijection of the counter that the key
// selects. Salmon, Moraes, Dror & Shaw 2011, https://doi.org/10.1145/2063384.2063405
static inline Philox philox(Philox counter, uint32_t key0, uint32_t key1) {
  uint32_t(&x)[4] = counter.x;
  for (int round = 0; round < 10; round++) {
    const uint64_t a = uint64_t{0xD2511F53u} * x[0], b = uint64_t{0xCD9E8D57u} * x[2];
    const uint32_t x1 = x[1], x3 = x[3];
    x[0] = static_cast<uint32_t>(b >> 32) ^ x1 ^ key0;
    x[1] = static_cast<uint32_t>(b);
    x[2] = static_cast<uint32_t>(a >> 32) ^ x3 ^ key1;
    x[3] = static_cast<uint32_t>(a);
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  return counter;
}

// In [0,1), of the first 53 bits.
static inline double philox_uniform(uint32_t counter, uint32_t key0, uint32_t key1) {
  const Philox bits = philox({{counter, 0, 0, 0}}, key0, key1);
  return static_cast<double>((uint64_t{bits.x[0]} << 21) | (bits.x[1] >> 11)) * 0x1p-53;
}

}  // namespace kvasir::KVASIR_ISA
