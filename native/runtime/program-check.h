#pragma once

#include "runtime/program-description.h"

namespace kvasir {

class KvCache;
struct DeviceRules;

// Checks a whole program before anything is made of it: indices, kinds, dtypes, shapes, attributes, aliasing, the
// order of nodes. Kernels trust what has passed. Throws Error(kShape), (kDType) or (kInvalidValue) naming the node.
// `cache` may be null for a program without attention.
void check_program(const ProgramDescription& program, const KvCache* cache, const DeviceRules& rules);

}  // namespace kvasir
