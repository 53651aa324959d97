#pragma once

// A device's memory as a weight store sees it: addresses that the host may not touch, and copies to and from what
// lies behind them. Copies are made as late as is allowed, when they are waited for, so that a staging buffer that
// is filled again too early, or a tensor that is released too early, shows.

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "checkpoint/weight-memory.h"
#include "types/error.h"

namespace kvasir::test {

class DeviceMemory : public WeightMemory {
 public:
  explicit DeviceMemory(uint64_t bytes = uint64_t{1} << 30) : bytes_(bytes) {}

  std::string name() const override { return "memory of a device"; }
  bool host_addressable() const override { return false; }
  uint64_t available() const override {
    std::lock_guard lock(mutex_);
    return bytes_ - taken_;
  }

  std::byte* allocate(size_t bytes) override {
    std::lock_guard lock(mutex_);
    if (bytes > bytes_ - taken_) throw Error(ErrorKind::kOutOfMemory, "device memory: no room");
    void* address = mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    auto data = static_cast<std::byte*>(address);
    behind_.emplace(data, std::vector<std::byte>(bytes));
    taken_ += bytes;
    return data;
  }

  void release(std::byte* data, size_t bytes) noexcept override {
    std::lock_guard lock(mutex_);
    auto found = behind_.find(data);
    if (found == behind_.end() || found->second.size() != bytes) return note("a release of something else");
    if (in_flight_ > 0) note("a release while copies are in flight");
    munmap(data, bytes);
    behind_.erase(found);
    taken_ -= bytes;
  }

  std::unique_ptr<Staging> make_staging(size_t bytes) override {
    std::lock_guard lock(mutex_);
    if (buffers_made == max_buffers) throw Error(ErrorKind::kOutOfMemory, "device memory: no staging buffer");
    ++buffers_made;
    most_buffers = std::max(most_buffers, ++buffers_);
    return std::make_unique<Buffer>(*this, bytes);
  }

  // What lies behind the address that allocate gave.
  const std::byte* behind(const std::byte* data) const {
    std::lock_guard lock(mutex_);
    return behind_.at(const_cast<std::byte*>(data)).data();
  }

  int64_t in_flight() const {
    std::lock_guard lock(mutex_);
    return in_flight_;
  }
  int64_t buffers() const {
    std::lock_guard lock(mutex_);
    return buffers_;
  }
  // What a store did that it may not do; empty if nothing.
  std::string wrong() const {
    std::lock_guard lock(mutex_);
    return wrong_;
  }

  int64_t writes = 0, buffers_made = 0, most_buffers = 0;
  int64_t max_buffers = -1;    // that make_staging makes before it throws
  int64_t failing_write = -1;  // that fails when it is asked for, counted from 0
  int64_t failing_wait = -1;   // the write that fails when it is waited for

 private:
  struct Copy {
    std::byte* to;
    size_t pitch;
    const std::byte* from;
    size_t width, height;
    bool fails;
  };

  class Buffer : public Staging {
   public:
    Buffer(DeviceMemory& memory, size_t bytes) : memory_(memory), bytes_(bytes) {}
    ~Buffer() override {
      std::lock_guard lock(memory_.mutex_);
      if (!copies_.empty()) memory_.note("a buffer given back while copies are in flight");
      --memory_.buffers_;
    }
    std::byte* data() const override { return bytes_.data(); }

    void write(std::byte* to, size_t to_pitch, const std::byte* from, size_t width, size_t height) override {
      std::lock_guard lock(memory_.mutex_);
      check_range(from, width * height);
      if (width == 0 || height == 0 || to_pitch < width || to_pitch > kMaxPitch)
        memory_.note("a wrong shape");
      const int64_t number = memory_.writes++;
      if (number == memory_.failing_write) throw Error(ErrorKind::kDevice, "device memory: write");
      begin({to, to_pitch, from, width, height, number == memory_.failing_wait});
    }
    void read(std::byte* to, const std::byte* from, size_t bytes) override {
      std::lock_guard lock(memory_.mutex_);
      check_range(to, bytes);
      begin({to, bytes, from, bytes, 1, false});
    }
    void wait() override {
      std::lock_guard lock(memory_.mutex_);
      bool failed = false;
      for (const Copy& copy : copies_) {
        failed |= copy.fails;
        if (!copy.fails) memory_.make(copy);
      }
      memory_.in_flight_ -= static_cast<int64_t>(copies_.size());
      copies_.clear();
      if (failed) throw Error(ErrorKind::kDevice, "device memory: copy");
    }

   private:
    void begin(const Copy& copy) {
      copies_.push_back(copy);
      ++memory_.in_flight_;
    }
    void check_range(const std::byte* from, size_t bytes) {
      if (from < bytes_.data() || from + bytes > bytes_.data() + bytes_.size())
        memory_.note("a copy outside the staging buffer");
    }

    DeviceMemory& memory_;
    mutable std::vector<std::byte> bytes_;
    std::vector<Copy> copies_;
  };

  void make(const Copy& copy) {
    for (size_t i = 0; i < copy.height; ++i) {
      std::byte* to = place_of(copy.to + i * copy.pitch, copy.width);
      const std::byte* from = place_of(copy.from + i * copy.width, copy.width);
      if (to && from) std::memcpy(to, from, copy.width);
    }
  }

  // The device's memory behind an address, or the host's memory itself; null outside of a tensor.
  std::byte* place_of(const std::byte* address, size_t bytes) {
    auto data = const_cast<std::byte*>(address);
    auto next = behind_.upper_bound(data);
    if (next == behind_.begin()) return data;
    auto& [begin, memory] = *std::prev(next);
    const auto offset = static_cast<size_t>(data - begin);
    if (offset >= (memory.size() + 4095) / 4096 * 4096) return data;
    if (offset + bytes > memory.size()) return note("a copy over a tensor's end"), nullptr;
    return memory.data() + offset;
  }

  void note(const std::string& what) { wrong_ += what + "; "; }

  const uint64_t bytes_;
  mutable std::mutex mutex_;
  std::map<std::byte*, std::vector<std::byte>> behind_;
  uint64_t taken_ = 0;
  int64_t in_flight_ = 0, buffers_ = 0;
  std::string wrong_;
};

}  // namespace kvasir::test
