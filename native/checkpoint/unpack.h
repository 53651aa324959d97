#pragma once

#include "checkpoint/staging-pool.h"
#include "checkpoint/store.h"

namespace kvasir {

// The work behind WeightStore::copy_out: the numbers of a tensor as f32, row-major. `staging` is null where the
// host addresses the tensor's memory.
void unpack(const StoredTensor& tensor, StagingPool* staging, float* destination);

}  // namespace kvasir
