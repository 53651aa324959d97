#pragma once

#include <cstdint>

namespace kvasir::test {

// What goes wrong with a read of a file. platform-test.cpp replaces pread for the whole test binary.
enum class Fault { kNone, kInterrupted, kShort, kInputError, kEnd };

// Makes the n-th read from now on, counted from 0, go wrong.
void inject(Fault fault, int64_t at);

// Stops that; returns how many reads were made since inject.
int64_t reads_since_inject();

}  // namespace kvasir::test
