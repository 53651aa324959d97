#pragma once

// Loops over the thread pool, for kernel sources (compiled per instruction set, see vector.h).

#include "device/cpu/execution.h"

namespace kvasir::KVASIR_ISA {

// Calls body(begin, end, thread) for ranges of `grain` items that cover [0, items). One range, or one thread:
// it is a plain call. `body` is a lambda; it must not throw.
template <typename F>
static inline void parallel_for(Execution& execution, int64_t items, int64_t grain, const F& body) {
  if (items <= 0 || execution.aborted()) return;
  constexpr int64_t kMaxChunks = (1 << 20) - 1;
  if (grain < 1) grain = 1;
  int64_t chunks = (items + grain - 1) / grain;
  if (chunks > kMaxChunks) {
    grain = (items + kMaxChunks - 1) / kMaxChunks;
    chunks = (items + grain - 1) / grain;
  }
  if (chunks == 1 || execution.pool.num_threads() == 1) {
    for (int64_t begin = 0; begin < items && !execution.aborted(); begin += grain)
      body(begin, begin + grain < items ? begin + grain : items, 0);
    return;
  }
  struct Call {
    const F& body;
    int64_t items, grain;
  } call{body, items, grain};
  execution.pool.run(
      chunks,
      [](void* argument, int64_t chunk, int thread) {
        const Call& c = *static_cast<const Call*>(argument);
        int64_t begin = chunk * c.grain;
        c.body(begin, begin + c.grain < c.items ? begin + c.grain : c.items, thread);
      },
      &call, execution.abort);
}

}  // namespace kvasir::KVASIR_ISA
