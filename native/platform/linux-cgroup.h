#pragma once

#include <cstdint>
#include <string>

namespace kvasir::platform {

// What control groups (v1, v2 or both) leave to this process: the tightest limit of its own group and of
// every group above it, as far as they can be seen. `root` goes before every path read (/proc and /sys), for
// tests.

// CPU time a second of wall time, in processors; infinity where nothing limits it.
double cgroup_processors(const std::string& root = "");

// Bytes until the memory limit, counting cached file pages that would be given up first as free; UINT64_MAX
// where nothing limits it.
uint64_t cgroup_available_memory(const std::string& root = "");

}  // namespace kvasir::platform
