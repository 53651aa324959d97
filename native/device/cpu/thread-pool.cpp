#include "device/cpu/thread-pool.h"

#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "platform/platform.h"
#include "types/error.h"

namespace kvasir {

namespace {

// Rounds of waiting before a thread sleeps. A round is one pause, 28 to 40 ns: about 10 us in all, several times a
// gap between two loops of a decode step, and a small part of the share that a spinning thread would lose when
// something else wants its core.
constexpr int kSpinRounds = 300;

// A thread's range of chunks and the number of the loop it belongs to, changed by one compare-exchange:
// epoch << 40 | front << 20 | back. The epoch keeps a late thread from taking a chunk of a later loop by mistake.
constexpr int kIndexBits = 20;
constexpr uint64_t kIndexMask = (1u << kIndexBits) - 1;

uint64_t pack(uint64_t epoch, uint64_t front, uint64_t back) {
  return epoch << (2 * kIndexBits) | front << kIndexBits | back;
}
int64_t front_of(uint64_t range) { return static_cast<int64_t>(range >> kIndexBits & kIndexMask); }
int64_t back_of(uint64_t range) { return static_cast<int64_t>(range & kIndexMask); }

// One cache line a thread, so that taking a chunk disturbs nobody.
struct alignas(64) Range {
  std::atomic<uint64_t> packed{0};
};

}  // namespace

struct ThreadPool::State {
  explicit State(int num_threads) : ranges(static_cast<size_t>(num_threads)) {}

  std::vector<Range> ranges;

  // The loop at hand. Written while no chunk is left, read only by a thread that holds one.
  std::atomic<Body> body{nullptr};
  std::atomic<void*> argument{nullptr};
  std::atomic<const std::atomic<int32_t>*> abort{nullptr};

  alignas(64) std::atomic<uint32_t> epoch{0};       // counts loops; threads without work sleep on it
  alignas(64) std::atomic<int32_t> sleepers{0};     // threads about to sleep on epoch
  alignas(64) std::atomic<uint32_t> unfinished{0};  // chunks; the caller sleeps on it
  std::atomic<bool> caller_sleeps{false};
  std::atomic<bool> stopping{false};
  std::vector<std::thread> threads;

  bool take_front(Range& range, int64_t& chunk);
  bool take_back(Range& range, int64_t& chunk);
  bool take(int thread, int64_t& chunk);
  void handle(int64_t chunk, int thread);
  void work(int thread);
  void serve(int thread);
  void sleep_until_next(uint32_t seen);
  void wait_for_others();
  void stop();
};

bool ThreadPool::State::take_front(Range& range, int64_t& chunk) {
  uint64_t seen = range.packed.load(std::memory_order_acquire);
  while (front_of(seen) < back_of(seen)) {
    if (range.packed.compare_exchange_weak(seen, seen + (1ull << kIndexBits), std::memory_order_acq_rel,
                                           std::memory_order_acquire)) {
      chunk = front_of(seen);
      return true;
    }
  }
  return false;
}

bool ThreadPool::State::take_back(Range& range, int64_t& chunk) {
  uint64_t seen = range.packed.load(std::memory_order_acquire);
  while (front_of(seen) < back_of(seen)) {
    if (range.packed.compare_exchange_weak(seen, seen - 1, std::memory_order_acq_rel,
                                           std::memory_order_acquire)) {
      chunk = back_of(seen) - 1;
      return true;
    }
  }
  return false;
}

bool ThreadPool::State::take(int thread, int64_t& chunk) {
  if (take_front(ranges[static_cast<size_t>(thread)], chunk)) return true;
  for (size_t i = 1; i < ranges.size(); i++) {
    if (take_back(ranges[(static_cast<size_t>(thread) + i) % ranges.size()], chunk)) return true;
  }
  return false;
}

void ThreadPool::State::handle(int64_t chunk, int thread) {
  const std::atomic<int32_t>* flag = abort.load(std::memory_order_relaxed);
  if (flag == nullptr || flag->load(std::memory_order_relaxed) == 0)
    body.load(std::memory_order_relaxed)(argument.load(std::memory_order_relaxed), chunk, thread);
  if (unfinished.fetch_sub(1, std::memory_order_seq_cst) == 1 &&
      caller_sleeps.load(std::memory_order_seq_cst))
    platform::wake_all(unfinished);
}

void ThreadPool::State::work(int thread) {
  int64_t chunk;
  while (take(thread, chunk)) handle(chunk, thread);
}

void ThreadPool::State::sleep_until_next(uint32_t seen) {
  for (int i = 0; i < kSpinRounds; i++) {
    if (epoch.load(std::memory_order_acquire) != seen) return;
    platform::cpu_relax();
  }
  sleepers.fetch_add(1, std::memory_order_seq_cst);
  while (epoch.load(std::memory_order_seq_cst) == seen) platform::wait_on(epoch, seen);
  sleepers.fetch_sub(1, std::memory_order_seq_cst);
}

void ThreadPool::State::serve(int thread) {
  platform::name_thread("kvasir");
  uint32_t seen = 0;
  while (true) {
    sleep_until_next(seen);
    seen = epoch.load(std::memory_order_acquire);
    if (stopping.load(std::memory_order_acquire)) return;
    work(thread);
  }
}

void ThreadPool::State::wait_for_others() {
  for (int i = 0; i < kSpinRounds; i++) {
    if (unfinished.load(std::memory_order_acquire) == 0) return;
    platform::cpu_relax();
  }
  caller_sleeps.store(true, std::memory_order_seq_cst);
  for (uint32_t left; (left = unfinished.load(std::memory_order_seq_cst)) != 0;)
    platform::wait_on(unfinished, left);
  caller_sleeps.store(false, std::memory_order_relaxed);
}

void ThreadPool::State::stop() {
  stopping.store(true, std::memory_order_release);
  epoch.fetch_add(1, std::memory_order_seq_cst);
  platform::wake_all(epoch);
  for (std::thread& thread : threads) thread.join();
}

ThreadPool::ThreadPool(int num_threads)
    : num_threads_(num_threads < 1 ? 1 : num_threads), state_(std::make_unique<State>(num_threads_)) {
  try {
    for (int thread = 1; thread < num_threads_; thread++)
      state_->threads.emplace_back([state = state_.get(), thread] { state->serve(thread); });
  } catch (const std::system_error& error) {
    state_->stop();
    throw Error(ErrorKind::kOutOfMemory, std::string("threads: the system refused one: ") + error.what());
  }
}

ThreadPool::~ThreadPool() { state_->stop(); }

bool ThreadPool::run(int64_t num_chunks, Body body, void* argument, const std::atomic<int32_t>* abort) {
  State& s = *state_;
  if (num_chunks > 0) {
    s.body.store(body, std::memory_order_relaxed);
    s.argument.store(argument, std::memory_order_relaxed);
    s.abort.store(abort, std::memory_order_relaxed);
    s.unfinished.store(static_cast<uint32_t>(num_chunks), std::memory_order_relaxed);

    uint32_t next = s.epoch.load(std::memory_order_relaxed) + 1;
    for (int64_t thread = 0; thread < num_threads_; thread++) {
      uint64_t front = static_cast<uint64_t>(num_chunks * thread / num_threads_);
      uint64_t back = static_cast<uint64_t>(num_chunks * (thread + 1) / num_threads_);
      s.ranges[static_cast<size_t>(thread)].packed.store(pack(next, front, back), std::memory_order_release);
    }
    s.epoch.store(next, std::memory_order_seq_cst);
    if (s.sleepers.load(std::memory_order_seq_cst) > 0) platform::wake_all(s.epoch);

    s.work(0);
    s.wait_for_others();
  }
  return abort == nullptr || abort->load(std::memory_order_relaxed) == 0;
}

}  // namespace kvasir
