#include "device/cuda/runtime.h"

#include <cxxabi.h>
#include <dlfcn.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <set>
#include <utility>

#include "device/cuda/emulator/grid.h"
#include "device/cuda/emulator/launch.h"
#include "device/cuda/emulator/memory.h"
#include "device/cuda/emulator/settings.h"
#include "device/cuda/emulator/streams.h"
#include "types/error.h"

namespace kvasir::cuda {

namespace emulator {

namespace {

// Which device a kernel is for; shared memory that a block may have: as the A100 and the H100.
struct Model {
  const char* name;
  int architecture;
  int64_t shared_bytes;
};
constexpr Model kModels[kNumDevices] = {{"Emulated A100", 80, 163 << 10}, {"Emulated H100", 90, 227 << 10}};

const Model& model_of(int device) {
  if (device < 0 || device >= kNumDevices) throw Error(ErrorKind::kDevice, "invalid device ordinal");
  return kModels[device];
}

double now_ms() {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

struct Queues {
  std::mutex mutex;
  std::set<Queue*> all;
};
Queues& queues() {
  static Queues& queues = *new Queues;
  return queues;
}

// As the linker knows it; kernels are named in errors where it does.
std::string name_of(const void* kernel) {
  Dl_info info;
  if (dladdr(kernel, &info) == 0 || info.dli_sname == nullptr || info.dli_saddr != kernel) return "a kernel";
  int status;
  char* readable = abi::__cxa_demangle(info.dli_sname, nullptr, nullptr, &status);
  std::string name = status == 0 ? readable : info.dli_sname;
  std::free(readable);
  return name.substr(0, name.find('('));
}

// Host code that reads or writes device memory, in order with the kernels.
void add_host_work(Queue& queue, std::function<void()> work) {
  queue.add({nullptr, [work = std::move(work)](Queue& q) {
               acquire(q.end);
               acquire(q.asked_token);
               work();
               release(q.end);
               release(q.asked_token);
             }});
}

}  // namespace

Queue::Queue(int device) : device(device) {
  model_of(device);
  std::lock_guard lock(queues().mutex);
  queues().all.insert(this);
}

Queue::~Queue() {
  std::lock_guard lock(queues().mutex);
  queues().all.erase(this);
}

void Queue::add(Task task) {
  release(asked_token);
  std::lock_guard lock(mutex_);
  if (captured_ != nullptr) {
    captured_->push_back(std::move(task));
  } else {
    tasks_.push_back({std::move(task), std::exchange(next_alone_, false), nullptr});
  }
}

// Nothing of a graph begins before what was asked for before it has ended, nor what comes after before it has.
void Queue::add_graph(const std::vector<Task>& tasks) {
  std::lock_guard lock(mutex_);
  next_alone_ = true;
  for (const Task& task : tasks) add(task);
  next_alone_ = true;
}

int64_t Queue::asked() {
  std::lock_guard lock(mutex_);
  return done_ + static_cast<int64_t>(tasks_.size());
}

// The next task has not begun: launches right after it that may overlap begin.
void Queue::begin_early() {
  const size_t most = static_cast<size_t>(settings().early_launches);
  for (size_t i = 1; i <= most && i < tasks_.size(); ++i) {
    Waiting& waiting = tasks_[i];
    const auto& call = waiting.task.call;
    if (call == nullptr || !call->overlap || waiting.alone || tasks_[i - 1].task.call == nullptr) return;
    if (waiting.launch == nullptr) waiting.launch = std::make_unique<Launch>(call, asked_token, end);
    waiting.launch->begin_early();
  }
}

void Queue::perform(Waiting& waiting) {
  const Task& task = waiting.task;
  if (task.call == nullptr) return task.work(*this);
  if (waiting.launch == nullptr) waiting.launch = std::make_unique<Launch>(task.call, asked_token, end);
  Launch& launch = *waiting.launch;
  const auto note_end = [&] {
    acquire(launch.ended);  // for the host, which may free now what the kernel used
    release(end);
  };
  try {
    launch.run();
  } catch (...) {
    note_end();
    throw;
  }
  note_end();
}

void Queue::run(int64_t upto) {
  std::lock_guard lock(mutex_);
  while (!tasks_.empty() && done_ < upto) {
    begin_early();
    Waiting next = std::move(tasks_.front());
    tasks_.pop_front();
    ++done_;
    try {
      perform(next);
    } catch (...) {
      done_ += static_cast<int64_t>(tasks_.size());
      tasks_.clear();
      throw;
    }
  }
}

void Queue::begin_capture() {
  std::lock_guard lock(mutex_);
  if (captured_ != nullptr)
    throw Error(ErrorKind::kDevice, "cudaStreamBeginCapture: the stream is capturing");
  captured_ = std::make_shared<std::vector<Task>>();
}

std::shared_ptr<std::vector<Task>> Queue::end_capture() {
  std::lock_guard lock(mutex_);
  if (captured_ == nullptr)
    throw Error(ErrorKind::kDevice, "cudaStreamEndCapture: the stream is not capturing");
  return std::exchange(captured_, nullptr);
}

bool Queue::capturing() {
  std::lock_guard lock(mutex_);
  return captured_ != nullptr;
}

void finish_streams(int device) {
  std::lock_guard lock(queues().mutex);
  for (Queue* queue : queues().all) {
    if (queue->device != device) continue;
    try {
      queue->run();
    } catch (...) {
      queue->add(
          {nullptr, [failure = std::current_exception()](Queue&) { std::rethrow_exception(failure); }});
    }
  }
}

void enqueue(Execution& e, const Grid& grid, const void* kernel, std::function<void()> call) {
  Queue& queue = *(*e.stream).queue;
  const Model& model = model_of(queue.device);
  const uint64_t threads = static_cast<uint64_t>(grid.block.x) * grid.block.y * grid.block.z;
  if (threads < 1 || threads > 1024 || grid.block.z > 64 || grid.grid.x < 1 || grid.grid.x > 0x7fffffff ||
      grid.grid.y < 1 || grid.grid.y > 65535 || grid.grid.z < 1 || grid.grid.z > 65535) {
    throw Error(ErrorKind::kDevice, "launch: invalid configuration argument");
  }
  if (grid.shared_bytes < 0 || grid.shared_bytes > model.shared_bytes) {
    throw Error(ErrorKind::kDevice,
                "launch: invalid argument, " + std::to_string(grid.shared_bytes) + " bytes of shared memory");
  }
  const Call launch{grid, std::move(call), name_of(kernel), model.architecture, e.overlap};
  queue.add({std::make_shared<const Call>(launch), nullptr});
}

}  // namespace emulator

using emulator::Queue;

int device_count() { return emulator::kNumDevices; }

DeviceInfo device_info(int device) {
  const emulator::Model& model = emulator::model_of(device);
  const emulator::Settings& settings = emulator::settings();
  DeviceInfo info{};
  std::strncpy(info.name, model.name, sizeof info.name - 1);
  info.architecture = model.architecture;
  info.multiprocessors = settings.multiprocessors;
  info.memory_bytes = settings.memory_bytes;
  info.free_bytes = std::max<int64_t>(0, settings.memory_bytes - emulator::bytes_in_use(device));
  info.shared_bytes = model.shared_bytes;
  info.l2_bytes = 40 << 20;
  info.driver_version = info.runtime_version = 13000;
  return info;
}

Graph::Graph(std::unique_ptr<Implementation> implementation) : implementation_(std::move(implementation)) {}
Graph::~Graph() = default;

Event::Event(int device) : implementation_(std::make_unique<Implementation>()) {
  emulator::model_of(device);
  implementation_->device = device;
}
Event::~Event() = default;

bool Event::reached() const {
  const Implementation& event = *implementation_;
  if (!event.state->reached) {
    if (const auto queue = event.queue.lock()) queue->run(event.number);
  }
  return event.state->reached;
}

double Event::milliseconds_since(const Event& start) const {
  if (!reached() || !start.reached())
    throw Error(ErrorKind::kDevice, "cudaEventElapsedTime: device not ready");
  return implementation_->state->milliseconds - (*start).state->milliseconds;
}

Stream::Stream(int device) : device_(device), implementation_(std::make_unique<Implementation>()) {
  implementation_->queue = std::make_shared<Queue>(device);
}

Stream::~Stream() {
  try {
    implementation_->queue->run();
  } catch (const std::exception&) {
    // Nobody asked.
  }
}

void Stream::copy_to_device(std::byte* to, const std::byte* from, int64_t bytes) {
  copy_pieces_to_device(to, bytes, from, bytes, bytes, 1);
}

void Stream::copy_to_host(std::byte* to, const std::byte* from, int64_t bytes) {
  emulator::check_device(device_, from, bytes, "copy_to_host");
  emulator::check_pinned(to, bytes, "copy_to_host");
  emulator::add_host_work(*implementation_->queue, [=] {
    if (bytes > 0) std::memcpy(to, from, static_cast<size_t>(bytes));
  });
}

void Stream::copy_on_device(std::byte* to, const std::byte* from, int64_t bytes) {
  emulator::check_device(device_, from, bytes, "copy_on_device");
  emulator::check_device(device_, to, bytes, "copy_on_device");
  emulator::add_host_work(*implementation_->queue, [=] {
    if (bytes > 0) std::memcpy(to, from, static_cast<size_t>(bytes));
  });
}

void Stream::copy_pieces_to_device(std::byte* to, int64_t to_pitch, const std::byte* from, int64_t from_pitch,
                                   int64_t width, int64_t height) {
  if (width <= 0 || height <= 0) return;
  if (height > 1 && (to_pitch < width || from_pitch < width)) {
    throw Error(ErrorKind::kDevice, "cudaMemcpy2DAsync: invalid pitch argument");
  }
  emulator::check_device(device_, to, (height - 1) * to_pitch + width, "copy_to_device");
  emulator::check_pinned(from, (height - 1) * from_pitch + width, "copy_to_device");
  emulator::add_host_work(*implementation_->queue, [=] {
    for (int64_t i = 0; i < height; ++i) {
      std::memcpy(to + i * to_pitch, from + i * from_pitch, static_cast<size_t>(width));
    }
  });
}

void Stream::fill(std::byte* to, uint8_t byte, int64_t bytes) {
  emulator::check_device(device_, to, bytes, "fill");
  emulator::add_host_work(*implementation_->queue, [=] {
    if (bytes > 0) std::memset(to, byte, static_cast<size_t>(bytes));
  });
}

void Stream::record(Event& event) {
  if (implementation_->queue->capturing()) {
    throw Error(ErrorKind::kDevice, "cudaEventRecord: the stream is capturing");
  }
  auto state = (*event).state;
  state->reached = false;
  implementation_->queue->add({nullptr, [state](Queue&) {
                                 state->milliseconds = emulator::now_ms();
                                 state->reached = true;
                               }});
  (*event).queue = implementation_->queue;
  (*event).number = implementation_->queue->asked();
}

void Stream::synchronize() {
  if (implementation_->queue->capturing()) {
    throw Error(ErrorKind::kDevice,
                "cudaStreamSynchronize: operation not permitted when stream is capturing");
  }
  implementation_->queue->run();
}

void Stream::begin_capture() { implementation_->queue->begin_capture(); }

std::unique_ptr<Graph> Stream::end_capture() {
  auto graph = std::make_unique<Graph::Implementation>();
  graph->tasks = implementation_->queue->end_capture();
  return std::make_unique<Graph>(std::move(graph));
}

void Stream::launch(const Graph& graph) { implementation_->queue->add_graph(*(*graph).tasks); }

}  // namespace kvasir::cuda
