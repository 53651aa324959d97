#pragma once

#include <cstdint>

namespace kvasir::cuda::emulator {

// How the emulator runs; first from the environment, tests change it between launches.
struct Settings {
  int workers;           // KVASIR_EMULATED_WORKERS: OS threads that run blocks; 1 under ASan
  bool lazy_copies;      // KVASIR_EMULATED_COPIES: lazy (as late as allowed) or eager (as early)
  uint64_t seed;         // KVASIR_EMULATED_SEED: of the order in which threads run; 0 for ascending order
  int multiprocessors;   // KVASIR_EMULATED_MULTIPROCESSORS: that devices say they have
  int early_launches;    // KVASIR_EMULATED_EARLY: that begin, where they may, before those they wait for
  int64_t memory_bytes;  // KVASIR_EMULATED_MEMORY: of each device
};

Settings& settings();

}  // namespace kvasir::cuda::emulator
