#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace kvasir {

// Memory of the host that a thread fills for a device while what it filled before is copied, with copies in an
// order of their own: page-locked memory and a stream, for CUDA. One thread at a time uses it, not always the
// same.
class Staging {
 public:
  // Called only after wait() has returned or thrown.
  virtual ~Staging() = default;

  // As many bytes as it was made with, 64-byte aligned.
  virtual std::byte* data() const = 0;

  // Both begin copies and may return before they are done; data() is left alone until wait() has returned.
  // Writes `height` pieces of `width` bytes, which follow one another at `from` in data(), to places of the
  // device's memory that are `to_pitch` bytes apart: width or more, and at most kMaxPitch. Reads `bytes` of the
  // device's memory to `to` in data(). Throw Error(kDevice).
  static constexpr int64_t kMaxPitch = INT32_MAX;  // of cudaMemcpy2D
  virtual void write(std::byte* to, size_t to_pitch, const std::byte* from, size_t width, size_t height) = 0;
  virtual void read(std::byte* to, const std::byte* from, size_t bytes) = 0;

  // Returns when no copy is in flight any more; then throws Error(kDevice) if one failed.
  virtual void wait() = 0;
};

// Where a store keeps its weights. Safe from several threads.
class WeightMemory {
 public:
  virtual ~WeightMemory() = default;

  // For messages: "memory of cuda:0".
  virtual std::string name() const = 0;

  // Zeros, which are there when it returns, aligned to 64 bytes, on a device to 256. Throws
  // Error(kOutOfMemory).
  virtual std::byte* allocate(size_t bytes) = 0;
  virtual void release(std::byte* data, size_t bytes) noexcept = 0;

  // Bytes that can still be taken.
  virtual uint64_t available() const = 0;

  // Whether the host reads and writes this memory itself. Such memory counts as available until it is written;
  // any other counts as taken once it is allocated, and everything goes through Staging.
  virtual bool host_addressable() const = 0;
  // Not called where the host addresses the memory. Throws Error(kOutOfMemory).
  virtual std::unique_ptr<Staging> make_staging(size_t bytes) = 0;
};

// The machine's own memory, within the cgroup's limit.
std::shared_ptr<WeightMemory> host_memory();

}  // namespace kvasir
