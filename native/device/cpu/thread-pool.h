#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

namespace kvasir {

// A fixed set of threads that share one loop at a time.
//
// The loop's chunks are dealt out as one contiguous range a thread; a thread that has finished its own takes
// chunks from the far end of another's. So every thread streams contiguous memory, and none waits for one
// that the system has put aside unless that one sits inside a chunk. The loop is over when all chunks are,
// not when all threads have come. Waiting threads spin for some microseconds and then sleep.
//
// One caller at a time; the caller works too, as thread 0.
class ThreadPool {
 public:
  explicit ThreadPool(int num_threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int num_threads() const { return num_threads_; }

  // Handles chunk `chunk`; `thread` is from 0 to num_threads - 1 and unique among those running at once.
  using Body = void (*)(void* argument, int64_t chunk, int thread);

  // Runs `body` for every chunk in [0, num_chunks), at most 2^20 - 1 of them; a body must not throw. When
  // `*abort` becomes nonzero the remaining chunks are skipped and false is returned.
  bool run(int64_t num_chunks, Body body, void* argument, const std::atomic<int32_t>* abort);

 private:
  struct State;
  const int num_threads_;
  std::unique_ptr<State> state_;
};

}  // namespace kvasir
