#include "device/cuda/emulator/grid.h"

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "device/cuda/emulator/sanitizers.h"
#include "device/cuda/emulator/settings.h"
#include "types/error.h"

namespace kvasir::cuda::emulator {

namespace {

Block& block_of_this_thread() {
  thread_local std::unique_ptr<Block> block;
  if (block == nullptr) block = std::make_unique<Block>();
  return *block;
}

// The blocks of one launch, taken by workers one after the other.
class Work {
 public:
  Work(Launch& launch, int workers) : launch_(launch), workers_(workers) {
    const dim3 grid = launch.grid.grid;
    count_ = static_cast<int64_t>(grid.x) * grid.y * grid.z;
  }

  void run(int worker) {
    // Under ThreadSanitizer blocks are dealt out, and otherwise for each launch: so a block and the one that
    // wrote what it reads are on different OS threads often enough for races between them to be seen.
    if (kThreadSanitizer) {
      const int64_t first = (worker + static_cast<int64_t>(launch_.number)) % workers_;
      for (int64_t i = first; i < count_ && !launch_.failed(); i += workers_) run_block(i);
    } else {
      for (int64_t i = next_++; i < count_ && !launch_.failed(); i = next_++) run_block(i);
    }
  }

  std::string failure() { return failure_; }

 private:
  void run_block(int64_t i) {
    const dim3 grid = launch_.grid.grid;
    if (!kThreadSanitizer && launch_.seed != 0 && launch_.number % 2 == 1) i = count_ - 1 - i;  // nothing depends on the order
    const uint3 index{static_cast<unsigned>(i % grid.x), static_cast<unsigned>(i / grid.x % grid.y),
                      static_cast<unsigned>(i / grid.x / grid.y)};
    try {
      block_of_this_thread().run(launch_, index);
    } catch (const std::exception& error) {
      std::lock_guard lock(mutex_);
      if (failure_.empty()) failure_ = error.what();
      launch_.failed_ = true;
    }
  }

  Launch& launch_;
  const int workers_;
  int64_t count_;
  std::atomic<int64_t> next_ = 0;
  std::mutex mutex_;
  std::string failure_;
};

// OS threads that wait for work for as long as the process lives.
class Pool {
 public:
  // Runs work.run(0 .. workers - 1), worker 0 on the caller.
  void run(Work& work, int workers) {
    std::unique_lock lock(mutex_);
    while (static_cast<int>(threads_) < workers - 1) {
      std::thread([this, number = ++threads_] { serve(number); }).detach();
    }
    work_ = &work;
    workers_ = workers;
    busy_ = workers - 1;
    ++turn_;
    if (workers > 1) changed_.notify_all();
    lock.unlock();
    work.run(0);
    lock.lock();
    changed_.wait(lock, [&] { return busy_ == 0; });
  }

 private:
  void serve(int number) {
    std::unique_lock lock(mutex_);
    for (int64_t seen = 0;;) {
      changed_.wait(lock, [&] { return turn_ > seen && number < workers_; });
      seen = turn_;
      Work& work = *work_;
      lock.unlock();
      work.run(number);
      lock.lock();
      if (--busy_ == 0) changed_.notify_all();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  Work* work_ = nullptr;
  int threads_ = 0, workers_ = 0, busy_ = 0;
  int64_t turn_ = 0;
};

}  // namespace

void run(Launch& launch, const std::string& name) {
  static std::mutex one_launch;
  static Pool& pool = *new Pool;
  static uint64_t launches = 0;
  std::lock_guard lock(one_launch);
  const Settings& s = settings();
  launch.lazy_copies = s.lazy_copies;
  launch.seed = s.seed;
  launch.number = launches++;
  launch.waited_for_predecessor = false;
  launch.failed_ = false;
  const dim3 grid = launch.grid.grid;
  const int64_t blocks = static_cast<int64_t>(grid.x) * grid.y * grid.z;
  // Static shared memory under AddressSanitizer is one for all.
  int workers = kAddressSanitizer || s.workers < 1 ? 1 : s.workers;
  if (!kThreadSanitizer && blocks < workers) workers = static_cast<int>(blocks);
  Work work(launch, workers);
  pool.run(work, workers);
  std::string failure = work.failure();
  if (failure.empty() && launch.overlap && !launch.waited_for_predecessor) {
    failure = "no thread called wait_for_predecessor";
  }
  if (!failure.empty()) throw Error(ErrorKind::kDevice, name + ": " + failure);
}

}  // namespace kvasir::cuda::emulator
