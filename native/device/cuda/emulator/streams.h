#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "device/cuda/emulator/grid.h"
#include "device/cuda/emulator/sanitizers.h"
#include "device/cuda/runtime.h"

namespace kvasir::cuda::emulator {

class Queue;

// What was asked of a stream: a call of a kernel, or what the host does.
struct Task {
  std::shared_ptr<const Call> call;
  std::function<void(Queue&)> work;
};

// Tasks that are not done. They are done when somebody waits for them, as late as possible: so a buffer that is
// used again too early, or a wait that is missing, shows.
class Queue {
 public:
  explicit Queue(int device);
  ~Queue();

  // Done later, or kept if the stream is capturing.
  void add(Task task);
  void add_graph(const std::vector<Task>& tasks);
  // Does everything up to task number `upto`. Throws what went wrong, and forgets the rest then.
  void run(int64_t upto = INT64_MAX);
  int64_t asked();

  void begin_capture();
  std::shared_ptr<std::vector<Task>> end_capture();
  bool capturing();

  const int device;
  // Of ThreadSanitizer's notion of time: what the host, or a copy, did before; the end of all before.
  Token asked_token, end;

 private:
  struct Waiting {
    Task task;
    bool alone;                      // does not begin before the one before it has ended
    std::unique_ptr<Launch> launch;  // that has begun early
  };

  void begin_early();
  void perform(Waiting& waiting);

  std::recursive_mutex mutex_;
  std::deque<Waiting> tasks_;
  int64_t done_ = 0;
  bool next_alone_ = false;
  std::shared_ptr<std::vector<Task>> captured_;  // null when not capturing
};

// Runs everything asked of the device's streams; errors stay for their synchronize().
void finish_streams(int device);

}  // namespace kvasir::cuda::emulator

namespace kvasir::cuda {

struct Stream::Implementation {
  std::shared_ptr<emulator::Queue> queue;
};

struct Graph::Implementation {
  std::shared_ptr<std::vector<emulator::Task>> tasks;
};

struct Event::Implementation {
  // Tasks that record the event outlive it.
  struct State {
    std::atomic<bool> reached = true;  // an event that was never recorded counts as reached
    double milliseconds = 0;
  };
  int device = 0;
  std::shared_ptr<State> state = std::make_shared<State>();
  std::weak_ptr<emulator::Queue> queue;  // where it was recorded, and as what number
  int64_t number = 0;
};

}  // namespace kvasir::cuda
