#include "device/cuda/emulator/memory.h"

#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <string>

#include "device/cuda/emulator/settings.h"
#include "device/cuda/emulator/streams.h"
#include "device/cuda/runtime.h"
#include "types/error.h"

namespace kvasir::cuda {

namespace emulator {

namespace {

// All memory of one device, or of the host what is page-locked: ordinary memory of exactly the size asked for,
// so that AddressSanitizer sees its end.
class Memory {
 public:
  std::byte* allocate(int64_t bytes, int64_t limit, const std::string& what) {
    if (bytes < 0) throw Error(ErrorKind::kDevice, what + ": invalid argument");
    if (bytes == 0) return nullptr;
    void* memory = nullptr;
    std::lock_guard lock(mutex_);
    if (bytes > limit - in_use_ || posix_memalign(&memory, 256, static_cast<size_t>(bytes)) != 0) {
      throw Error(ErrorKind::kOutOfMemory, what + ": out of memory");
    }
    std::memset(memory, 0xff, static_cast<size_t>(bytes));  // NaN in every type
    blocks_[static_cast<std::byte*>(memory)] = bytes;
    in_use_ += bytes;
    return static_cast<std::byte*>(memory);
  }

  void release(std::byte* memory, const char* what) {
    if (memory == nullptr) return;
    std::lock_guard lock(mutex_);
    const auto block = blocks_.find(memory);
    if (block == blocks_.end()) throw Error(ErrorKind::kDevice, std::string(what) + ": invalid argument");
    in_use_ -= block->second;
    blocks_.erase(block);
    std::free(memory);
  }

  bool has(const std::byte* p, int64_t bytes) {
    std::lock_guard lock(mutex_);
    auto after = blocks_.upper_bound(const_cast<std::byte*>(p));
    if (after == blocks_.begin()) return false;
    const auto& [start, size] = *--after;
    return p + bytes <= start + size;
  }

  int64_t in_use() {
    std::lock_guard lock(mutex_);
    return in_use_;
  }

 private:
  std::mutex mutex_;
  std::map<std::byte*, int64_t> blocks_;
  int64_t in_use_ = 0;
};

Memory& device_memory(int device) {
  static Memory* memories = new Memory[kNumDevices];
  if (device < 0 || device >= kNumDevices) throw Error(ErrorKind::kDevice, "invalid device ordinal");
  return memories[device];
}

Memory& pinned_memory() {
  static Memory& memory = *new Memory;
  return memory;
}

}  // namespace

void check_device(int device, const std::byte* p, int64_t bytes, const char* what) {
  if (bytes > 0 && !device_memory(device).has(p, bytes)) {
    throw Error(ErrorKind::kDevice, std::string(what) + ": not memory of device " + std::to_string(device));
  }
}

void check_pinned(const std::byte* p, int64_t bytes, const char* what) {
  if (bytes > 0 && !pinned_memory().has(p, bytes)) {
    throw Error(ErrorKind::kDevice, std::string(what) + ": the host's memory is not from allocate_pinned");
  }
}

int64_t bytes_in_use(int device) { return device_memory(device).in_use(); }

}  // namespace emulator

std::byte* allocate(int device, int64_t bytes) {
  return emulator::device_memory(device).allocate(bytes, emulator::settings().memory_bytes, "cudaMalloc");
}

// As cudaFree, after all that was asked of the device.
void release(int device, std::byte* memory) {
  if (memory != nullptr) emulator::finish_streams(device);
  emulator::device_memory(device).release(memory, "cudaFree");
}

std::byte* allocate_pinned(int64_t bytes) {
  return emulator::pinned_memory().allocate(bytes, INT64_MAX, "cudaHostAlloc");
}

void release_pinned(std::byte* memory) { emulator::pinned_memory().release(memory, "cudaFreeHost"); }

}  // namespace kvasir::cuda
