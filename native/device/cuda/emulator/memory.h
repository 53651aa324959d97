#pragma once

#include <cstddef>
#include <cstdint>

namespace kvasir::cuda::emulator {

constexpr int kNumDevices = 2;

// Throws Error(kDevice) unless [p, p + bytes) lies in memory that allocate(device), or allocate_pinned, gave.
void check_device(int device, const std::byte* p, int64_t bytes, const char* what);
void check_pinned(const std::byte* p, int64_t bytes, const char* what);

int64_t bytes_in_use(int device);

}  // namespace kvasir::cuda::emulator
