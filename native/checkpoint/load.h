#pragma once

#include "checkpoint/staging-pool.h"
#include "checkpoint/store.h"

namespace kvasir {

// The work behind WeightStore::load: checks the part, reads and packs it, and marks its rows as loaded.
// `staging` is null where the host addresses the tensor's memory; nothing is in flight when this returns or
// throws.
bool load_part(StoredTensor& target, StagingPool* staging, const LoadPart& part, const ParallelFor& parallel,
               const std::atomic<int32_t>* abort);

// Packs rows * cols numbers, row-major. Returns whether a finite one became infinite.
bool pack_values(StoredTensor& target, StagingPool* staging, const float* values);

}  // namespace kvasir
