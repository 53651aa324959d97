#pragma once

#include <cstdint>

#include "kernels/kv-append/kv-cache.h"
#include "types/dtype.h"
#include "types/execution.h"

namespace kvasir {

// Writes the step's keys and values into a layer of the cache; where `table` is set, rotates the keys on the way
// and the queries beside them (rope.h), so that a layer's q and k are touched once.
struct KvAppend {
  const void* k;  // (N,KH,D), rows k_stride apart
  const void* v;  // (N,KH,D), rows v_stride apart
  KvCacheLayer
      cache;  // 16 bits: rounded to nearest even; q8: to the nearest multiple of a vector's largest / 127
  StepTables tables;
  int64_t k_stride, v_stride;

  const float* table;  // (N,2P) cosines and sines; null: keys are stored as they are and q is not touched
  void* q;             // (N,H,D), rows q_stride apart, rotated in place; null where table is null
  int64_t q_stride, H, P;
  bool interleaved;
  DType dtype;  // of k, v and q
};

using KvAppendKernel = void(const KvAppend&, Execution&);
using KvAppendCudaKernel = void(const KvAppend&, cuda::Execution&);

}  // namespace kvasir
