#pragma once

#include <cstdint>

#include "device/cpu/execution.h"
#include "kernels/kv-append/kv-cache.h"

namespace kvasir {

// Writes the step's keys and values into a layer of the cache; where `table` is set, rotates the keys on the way
// and the queries beside them (rope.h), so that a layer's q and k are touched once.
struct KvAppend {
  const float* k;      // (N,KH,D), rows k_stride apart
  const float* v;      // (N,KH,D), rows v_stride apart
  KvCacheLayer cache;  // bf16: rounded to nearest even
  StepTables tables;
  int64_t k_stride, v_stride;

  const float* table;  // (N,2P) cosines and sines; null: keys are stored as they are and q is not touched
  float* q;            // (N,H,D), rows q_stride apart, rotated in place; null where table is null
  int64_t q_stride, H, P;
  bool interleaved;
};

using KvAppendKernel = void(const KvAppend&, Execution&);

}  // namespace kvasir
