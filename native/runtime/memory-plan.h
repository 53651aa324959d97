#pragma once

#include <cstdint>
#include <vector>

#include "runtime/program-description.h"

namespace kvasir {

// Where a value that the program computes lies: in the arena, as rows `stride` elements apart. A view (slice, or the
// queries that kv-append rotates in place) shares its root's memory.
struct Placement {
  int64_t offset = -1;  // bytes from the arena's start; -1 for a value that has no memory
  int64_t stride = 0;   // elements
  int root = -1;        // the value that owns the memory; itself for a root
};

// Guard bytes around every root in a checked plan.
constexpr int64_t kGuardBytes = 256;

struct MemoryPlan {
  std::vector<Placement> values;
  std::vector<int64_t> bytes;  // of each root, for the step limits; 0 for others
  int64_t arena_bytes = 0;
};

// Plans one arena for all results of a checked program: values that are never alive at the same time share memory.
// `checked` gives each its own place with guards around it, so that a kernel's stray write can be seen.
MemoryPlan plan_memory(const ProgramDescription& program, const StepLimits& limits, bool checked);

// The largest size a dimension takes.
int64_t largest(const Dim& dim, const StepLimits& limits);

}  // namespace kvasir
