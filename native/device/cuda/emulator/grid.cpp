#include "device/cuda/emulator/grid.h"

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

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

int64_t count_of(dim3 grid) { return static_cast<int64_t>(grid.x) * grid.y * grid.z; }

uint3 index_of(int64_t i, dim3 grid) {
  return {static_cast<unsigned>(i % grid.x), static_cast<unsigned>(i / grid.x % grid.y),
          static_cast<unsigned>(i / grid.x / grid.y)};
}

bool same(uint3 a, uint3 b) { return a.x == b.x && a.y == b.y && a.z == b.z; }

uint64_t next_number() {
  static std::atomic<uint64_t> launches = 0;
  return launches++;
}

}  // namespace

// A block that runs on an OS thread of its own up to where its threads wait for the launch before.
class EarlyBlock {
 public:
  // Returns when the block cannot go on. Null when no thread is free for it.
  static std::unique_ptr<EarlyBlock> begin(const Launch& launch, uint3 index);
  // Gives the block up unless it has ended.
  ~EarlyBlock();
  EarlyBlock(const EarlyBlock&) = delete;
  EarlyBlock& operator=(const EarlyBlock&) = delete;

  const uint3 index;
  // The launch before has ended: runs the block to its end, and says what went wrong in it, if anything did.
  std::string finish();

 private:
  class Runner;
  EarlyBlock(Runner& runner, uint3 index) : index(index), runner_(runner) {}

  Runner& runner_;
};

// An OS thread that runs one early block after the other.
class EarlyBlock::Runner : public Gate {
 public:
  Runner() {
    std::thread([this] { serve(); }).detach();
  }

  bool claim() {
    std::lock_guard lock(mutex_);
    if (state_ != State::kFree) return false;
    state_ = State::kClaimed;
    return true;
  }

  void free() {
    std::lock_guard lock(mutex_);
    state_ = State::kFree;
  }

  // Returns when the block is at the gate or has ended.
  void begin(const Launch& launch, uint3 index) {
    std::unique_lock lock(mutex_);
    launch_ = &launch;
    index_ = index;
    become(State::kRunning);
    changed_.wait(lock, [&] { return state_ == State::kAtGate || state_ == State::kEnded; });
  }

  // Returns when the block has ended.
  std::string end(bool open_gate) {
    std::unique_lock lock(mutex_);
    if (state_ == State::kAtGate) become(open_gate ? State::kGateOpen : State::kGivenUp);
    changed_.wait(lock, [&] { return state_ == State::kEnded; });
    return failure_;
  }

  bool pass() override {
    std::unique_lock lock(mutex_);
    become(State::kAtGate);
    changed_.wait(lock, [&] { return state_ == State::kGateOpen || state_ == State::kGivenUp; });
    return state_ == State::kGateOpen;
  }

 private:
  enum class State { kFree, kClaimed, kRunning, kAtGate, kGateOpen, kGivenUp, kEnded };

  void become(State state) {
    state_ = state;
    changed_.notify_all();
  }

  void serve() {
    Block block;
    std::unique_lock lock(mutex_);
    for (;;) {
      changed_.wait(lock, [&] { return state_ == State::kRunning; });
      lock.unlock();
      std::string failure;
      try {
        block.run(*launch_, index_, this);
      } catch (const std::exception& error) {
        failure = error.what();
      }
      lock.lock();
      failure_ = failure;
      become(State::kEnded);
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  State state_ = State::kFree;
  const Launch* launch_ = nullptr;
  uint3 index_{};
  std::string failure_;
};

std::unique_ptr<EarlyBlock> EarlyBlock::begin(const Launch& launch, uint3 index) {
  constexpr int kRunners = 4;
  static Runner* const runners = new Runner[kRunners];
  for (int i = 0; i < kRunners; ++i) {
    if (!runners[i].claim()) continue;
    runners[i].begin(launch, index);
    return std::unique_ptr<EarlyBlock>(new EarlyBlock(runners[i], index));
  }
  return nullptr;
}

EarlyBlock::~EarlyBlock() {
  runner_.end(false);
  runner_.free();
}

std::string EarlyBlock::finish() { return runner_.end(true); }

// The blocks of one launch, taken by workers one after the other.
class Launch::Work {
 public:
  Work(const Launch& launch, int workers)
      : launch_(launch), workers_(workers), count_(count_of(launch.grid().grid)) {}

  void run(int worker) {
    // Under ThreadSanitizer blocks are dealt out, and otherwise for each launch: so a block and the one that
    // wrote what it reads are on different OS threads often enough for races between them to be seen.
    if (kThreadSanitizer) {
      const int64_t first = (worker + static_cast<int64_t>(launch_.number)) % workers_;
      for (int64_t i = first; i < count_ && !failed_; i += workers_) run_block(i);
    } else {
      const bool backwards = launch_.seed != 0 && launch_.number % 2 == 1;  // nothing depends on the order
      for (int64_t i = next_++; i < count_ && !failed_; i = next_++)
        run_block(backwards ? count_ - 1 - i : i);
    }
  }

  void note(const std::string& failure) {
    if (failure.empty()) return;
    std::lock_guard lock(mutex_);
    if (failure_.empty()) failure_ = failure;
    failed_ = true;
  }

  std::string failure() { return failure_; }

 private:
  void run_block(int64_t i) {
    const uint3 index = index_of(i, launch_.grid().grid);
    if (launch_.early_ != nullptr && same(index, launch_.early_->index)) return;
    try {
      block_of_this_thread().run(launch_, index, nullptr);
    } catch (const std::exception& error) {
      note(error.what());
    }
  }

  const Launch& launch_;
  const int workers_;
  const int64_t count_;
  std::atomic<int64_t> next_ = 0;
  std::atomic<bool> failed_ = false;
  std::mutex mutex_;
  std::string failure_;
};

namespace {

// OS threads that wait for work for as long as the process lives.
class Pool {
 public:
  // Calls work(0 .. workers - 1), work(0) on the caller's thread.
  void run(const std::function<void(int)>& work, int workers) {
    std::unique_lock lock(mutex_);
    while (threads_ < workers - 1) {
      std::thread([this, number = ++threads_] { serve(number); }).detach();
    }
    work_ = &work;
    workers_ = workers;
    busy_ = workers - 1;
    ++turn_;
    if (workers > 1) changed_.notify_all();
    lock.unlock();
    work(0);
    lock.lock();
    changed_.wait(lock, [&] { return busy_ == 0; });
  }

 private:
  void serve(int number) {
    std::unique_lock lock(mutex_);
    for (int64_t seen = 0;;) {
      changed_.wait(lock, [&] { return turn_ > seen && number < workers_ && busy_ > 0; });
      seen = turn_;
      const std::function<void(int)>& work = *work_;
      lock.unlock();
      work(number);
      lock.lock();
      if (--busy_ == 0) changed_.notify_all();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  const std::function<void(int)>* work_ = nullptr;
  int threads_ = 0, workers_ = 0, busy_ = 0;
  int64_t turn_ = 0;
};

}  // namespace

Launch::Launch(std::shared_ptr<const Call> call, Token& asked, Token& before)
    : lazy_copies(settings().lazy_copies),
      seed(settings().seed),
      number(next_number()),
      asked(asked),
      before(before),
      call_(std::move(call)) {}

Launch::~Launch() = default;

void Launch::begin_early() {
  // Static shared memory is one for all blocks under AddressSanitizer; ThreadSanitizer needs no such help.
  if (kAddressSanitizer || kThreadSanitizer || early_ != nullptr) return;
  Random random(seed + number);
  const int64_t count = count_of(grid().grid);
  const uint32_t some = random.below(static_cast<uint32_t>(count < 1 << 30 ? count : 1 << 30));
  early_ = EarlyBlock::begin(*this, index_of(seed == 0 ? 0 : some, grid().grid));
}

void Launch::run() {
  static std::mutex one_launch;
  static Pool& pool = *new Pool;
  std::lock_guard lock(one_launch);
  const int64_t blocks = count_of(grid().grid);
  int workers = kAddressSanitizer || settings().workers < 1 ? 1 : settings().workers;
  if (!kThreadSanitizer && blocks < workers) workers = static_cast<int>(blocks);
  Work work(*this, workers);
  if (early_ != nullptr) work.note(early_->finish());
  pool.run([&](int worker) { work.run(worker); }, workers);
  std::string failure = work.failure();
  if (failure.empty() && call_->overlap && !waited_for_predecessor) {
    failure = "no thread called wait_for_predecessor";
  }
  if (!failure.empty()) throw Error(ErrorKind::kDevice, call_->name + ": " + failure);
}

}  // namespace kvasir::cuda::emulator
