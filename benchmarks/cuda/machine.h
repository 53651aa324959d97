#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "backends/cuda.h"

namespace kvasir::benchmark {

class Machine;

// Device memory.
class Memory {
 public:
  Memory(Machine& machine, int64_t bytes);
  ~Memory();
  Memory(Memory&& other) noexcept;
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  std::byte* data() const { return data_; }
  int64_t bytes() const { return bytes_; }
  template <typename T>
  T* as() const {
    return reinterpret_cast<T*>(data_);
  }

 private:
  Machine& machine_;
  std::byte* data_;
  int64_t bytes_;
};

// What one benchmark gives: a line of JSON.
struct Result {
  std::string group, name;
  double us = 0, us_again = 0;  // a launch, or a token: medians of the same thing timed twice
  double bytes = 0;             // that must move between memory and multiprocessors
  double operations = 0;        // of floating point
  double error = 0, error_allowed = 0;
  std::string verified{};  // how
};

// How much work a run may be: that of a GPU, or so little that an emulator does it.
enum class Scale { kFull, kTiny };

struct Timing {
  double us, us_again;
};

// A device, numbers to fill its memory with, and a clock.
class Machine {
 public:
  Machine(std::shared_ptr<CudaBackend> backend, Scale scale);

  cuda::Device& device() { return backend_->device(); }
  const std::shared_ptr<CudaBackend>& backend() const { return backend_; }
  const cuda::Module& module() { return device().module(); }
  const cuda::Kernels& kernels() { return module().kernels; }
  const cuda::DeviceInfo& info() { return device().info(); }
  bool tiny() const { return scale_ == Scale::kTiny; }
  // Throws what a function of the table reported.
  void check(int status) { cuda::check(module(), status); }

  // What kernels are launched with; `scratch` may be null for those that need none.
  cuda::Execution execution(const Memory* scratch = nullptr);

  // Random numbers, evenly spread over (centre - spread, centre + spread). Never zeros: those run faster.
  Memory random(DType dtype, int64_t count, double spread, double centre = 0);
  void fill_random(std::byte* memory, DType dtype, int64_t count, double spread, double centre = 0);
  // Tiles of a blocked type, with numbers of that spread.
  void fill_blocks(std::byte* tiles, DType dtype, int64_t bytes, double spread);
  Memory integers(const std::vector<int32_t>& numbers);
  Memory floats(const std::vector<float>& numbers);
  // NaN, so that what was not written shows.
  Memory poisoned(int64_t bytes);
  // `count` numbers as f64.
  std::vector<double> read(DType dtype, const std::byte* from, int64_t count);

  // How many sets of buffers of `bytes` each a benchmark takes in turn, so that no launch finds its own in the
  // second-level cache.
  int sets(double bytes) const;

  // The time of a launch, launch(i) taking the buffers of set i: launches one after another in a captured graph,
  // device events around it, the median of many replays; two series of them in turn.
  Timing time(int sets, const std::function<void(int set)>& launch);

  double random_unit();  // in [0, 1)

 private:
  double replay_us(const cuda::CapturedGraph& graph, int launches);

  std::shared_ptr<CudaBackend> backend_;
  const Scale scale_;
  uint64_t state_ = 0x9e3779b97f4a7c15;
  std::vector<float> pool_;  // random numbers over (-1, 1)
};

double median(std::vector<double> values);
void print(const Result& result);

}  // namespace kvasir::benchmark
