#include "checkpoint/staging-pool.h"

namespace kvasir {

// The one that rests longest, unless fewer rest than would keep every thread's copies in flight.
std::unique_ptr<Staging> StagingPool::take() {
  std::unique_lock lock(mutex_);
  const bool make = resting_.size() < lent_ + 2 && resting_.size() + lent_ < kMaxBuffers;
  std::unique_ptr<Staging> buffer;
  if (make) {
    buffer = memory_.make_staging(kStagingBytes);
  } else {
    came_back_.wait(lock, [this] { return !resting_.empty(); });
    buffer = std::move(resting_.front());
    resting_.pop_front();
  }
  ++lent_;
  return buffer;
}

void StagingPool::take_back(std::unique_ptr<Staging> buffer) {
  {
    std::lock_guard lock(mutex_);
    resting_.push_back(std::move(buffer));
    --lent_;
  }
  came_back_.notify_one();
}

std::exception_ptr StagingPool::settle() noexcept {
  std::exception_ptr error;
  for (const std::unique_ptr<Staging>& buffer : resting_) {
    try {
      buffer->wait();
    } catch (...) {
      if (!error) error = std::current_exception();
    }
  }
  return error;
}

}  // namespace kvasir
