#pragma once

#include <condition_variable>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>

#include "checkpoint/weight-memory.h"

namespace kvasir {

// What one piece of a load takes up at most, as read and as packed, where a row is not very long.
constexpr int64_t kStagingBytes = int64_t{2} << 20;

// The buffers between loading threads and a device's memory: made when they are needed, two for each thread, so
// that one is filled while the other is copied, 64 MiB in all at most, and kept for the next load. Safe from
// several threads, where nothing else is said.
class StagingPool {
 public:
  explicit StagingPool(WeightMemory& memory) : memory_(memory) {}

  // A buffer of kStagingBytes whose earlier copies are done, lent for as long as this lives; whatever copies were
  // begun go on. A thread has one at a time, and waits where all are lent. Throws Error: kOutOfMemory, and kDevice
  // for the earlier copies.
  class Lease {
   public:
    explicit Lease(StagingPool& pool) : Lease(pool, pool.take()) { buffer_->wait(); }
    ~Lease() { pool_.take_back(std::move(buffer_)); }  // also where wait() throws
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    Staging& operator*() const { return *buffer_; }
    Staging* operator->() const { return buffer_.get(); }

   private:
    Lease(StagingPool& pool, std::unique_ptr<Staging> buffer) : pool_(pool), buffer_(std::move(buffer)) {}

    StagingPool& pool_;
    std::unique_ptr<Staging> buffer_;
  };

  // Waits for all copies; none is lent meanwhile. Returns the first error in them, or null.
  std::exception_ptr settle() noexcept;

  // Gives the buffers' memory back; none is lent, and all is settled.
  void clear() { resting_.clear(); }

 private:
  static constexpr size_t kMaxBuffers = (size_t{64} << 20) / kStagingBytes;

  std::unique_ptr<Staging> take();
  void take_back(std::unique_ptr<Staging> buffer);

  WeightMemory& memory_;
  std::mutex mutex_;  // for all below
  std::condition_variable came_back_;
  std::deque<std::unique_ptr<Staging>> resting_;  // in the order in which they came back
  size_t lent_ = 0;
};

}  // namespace kvasir
