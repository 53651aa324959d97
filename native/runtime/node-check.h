#pragma once

#include "runtime/program-description.h"

namespace kvasir {

class KvCache;
struct DeviceRules;

// The largest size of a dimension.
constexpr int64_t kMaxDim = int64_t{1} << 40;

// Checks one node of a program whose values and order have passed: kinds, dtypes, shapes, attributes. Throws
// Error(kShape), (kDType) or (kInvalidValue) naming the node. `cache` may be null for a program without attention.
void check_node(const ProgramDescription& program, const NodeDescription& node, const KvCache* cache,
                const DeviceRules& rules);

}  // namespace kvasir
