#pragma once

#include "checkpoint/store.h"

namespace kvasir {

// The work behind WeightStore::load: checks the part, reads and packs it, and marks its rows as loaded.
bool load_part(StoredTensor& target, const LoadPart& part, const ParallelFor& parallel,
               const std::atomic<int32_t>* abort);

}  // namespace kvasir
