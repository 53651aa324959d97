#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "device/cpu/thread-pool.h"
#include "kernels/kv-append/kv-cache.h"
#include "runtime/node-reader.h"
#include "runtime/program-description.h"

namespace kvasir {

class WeightMemory;

// What varies from step to step.
struct StepState {
  int64_t sizes[kNumSymbols] = {};  // by Symbol
  std::vector<const void*> inputs;  // step inputs by value index; null elsewhere
  const std::atomic<int32_t>* abort = nullptr;

  int64_t& of(Symbol symbol) { return sizes[static_cast<int>(symbol)]; }
  int64_t of(Symbol symbol) const { return sizes[static_cast<int>(symbol)]; }
  int64_t size(const Dim& dim) const { return dim.symbol == Symbol::kFixed ? dim.size : of(dim.symbol); }
  template <typename T>
  const T* input(int value) const {
    return static_cast<const T*>(inputs[static_cast<size_t>(value)]);
  }
  bool aborted() const { return abort != nullptr && abort->load(std::memory_order_relaxed) != 0; }
};

// A result in the arena; data null where an optional operand is absent.
struct MatrixRef {
  void* data = nullptr;
  int64_t stride = 0, cols = 0;
  Dim rows;
  DType dtype = DType::kF32;
};

// A weight or constant; data null where absent.
struct StoredRef {
  const void* data = nullptr;
  DType dtype = DType::kF32;
  Layout layout = Layout::kRows;
  int64_t rows = 0, cols = 0;
};

// A node whose operands have their places. Given to a backend once, when the program is made.
class BoundNode : public NodeReader {
 public:
  using NodeReader::NodeReader;

  virtual ~BoundNode() = default;
  virtual MatrixRef matrix_in(const std::string& name) const = 0;   // absent: data null
  virtual MatrixRef matrix_out(const std::string& name) const = 0;  // absent: data null
  virtual void* raw_out(const std::string& name) const = 0;
  virtual StoredRef stored(const std::string& name) const = 0;                   // absent: data null
  virtual const double* stored_numbers(const std::string& attribute) const = 0;  // in the device's memory
  virtual const KvCacheLayer& cache_layer() const = 0;
  virtual const StepLimits& limits() const = 0;
};

// `height` rows of `width` bytes that a step leaves in device memory, to be packed into host memory.
struct Fetch {
  const std::byte* from;
  int64_t pitch;
  void* to;
  int64_t width, height;
};

// A step that is repeated with the tokens it samples: which values it goes on with, by index.
struct AheadPlan {
  int tokens, positions, context_lengths, counter;  // step inputs; counter -1 for none
  const std::byte* ids;                             // results, S of each
  const std::byte* logprobs;
  int64_t count;        // of steps
  int32_t* ids_log;     // (count, S) on the host
  float* logprobs_log;  // (count, S) on the host
};

// All nodes of a program, ready to run.
class BoundProgram {
 public:
  virtual ~BoundProgram() = default;

  // Runs a step, then fetches. False when the step's flag was raised on the way; nothing is fetched then.
  virtual bool run(const StepState& step, const std::vector<Fetch>& fetches) = 0;
  // Runs plan.count steps one after another, each with the tokens that the one before it sampled, at the next
  // position. Returns how many steps ran before the flag was raised.
  virtual int64_t run_ahead(const StepState& step, const AheadPlan& plan) = 0;
};

// What programs may ask of a device.
struct DeviceRules {
  Layout matrix_layout;  // of the weights of linear layers
  KeyLayout key_layout;
  std::vector<DType> activations;  // float types that results may have
  std::vector<DType> caches;       // float types that the cache may have
  bool cache_as_activations;       // the cache must have the type of what is appended to it, or q8
};

// Runs programs on one device.
class Backend {
 public:
  virtual ~Backend() = default;

  virtual const DeviceRules& rules() const = 0;
  // Processor threads for work beside the device's own, such as loading weights.
  virtual ThreadPool& pool() = 0;

  // Memory of the device, zero-filled, 64-byte aligned; null for 0 bytes.
  virtual std::byte* allocate(int64_t bytes) = 0;
  virtual void release(std::byte* memory, int64_t bytes) = 0;
  // Between it and the host, once all work that was asked of the device is done.
  virtual void read(void* to, const std::byte* from, int64_t bytes) = 0;
  virtual void write(std::byte* to, const void* from, int64_t bytes) = 0;
  // Within it, in order with the steps before and after.
  virtual void copy(std::byte* to, const std::byte* from, int64_t bytes) = 0;
  // Where a model's weights are kept.
  virtual std::shared_ptr<WeightMemory> weight_memory() = 0;

  // Bytes of the device's memory that a checked program takes beside its results, constants, weights and cache.
  virtual int64_t work_bytes(const ProgramDescription& program, const StepLimits& limits) const = 0;
  // The nodes in order, without slices. What they refer to outlives the bound program. `exact`: steps must write
  // no rows but their own.
  virtual std::unique_ptr<BoundProgram> bind(const std::vector<std::unique_ptr<BoundNode>>& nodes,
                                             bool exact) = 0;
};

}  // namespace kvasir
