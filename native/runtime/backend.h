#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "runtime/kv-cache.h"
#include "runtime/node-reader.h"
#include "runtime/program-description.h"

namespace kvasir {

class WeightStore;

// What varies from step to step.
struct StepState {
  int64_t sizes[kNumSymbols] = {};  // by Symbol
  std::vector<const void*> inputs;  // step inputs by value index; null elsewhere
  const std::atomic<int32_t>* abort = nullptr;

  int64_t size(const Dim& dim) const {
    return dim.symbol == Symbol::kFixed ? dim.size : sizes[static_cast<int>(dim.symbol)];
  }
  template <typename T>
  const T* input(int value) const {
    return static_cast<const T*>(inputs[static_cast<size_t>(value)]);
  }
};

// A result in the arena; data null where an optional operand is absent.
struct MatrixRef {
  float* data = nullptr;
  int64_t stride = 0, cols = 0;
  Dim rows;
};

// A weight or constant; data null where absent.
struct StoredRef {
  const void* data = nullptr;
  DType dtype = DType::kF32;
  Layout layout = Layout::kRows;
  int64_t rows = 0, cols = 0;
};

// Runs one node of a step.
using Step = std::function<void(const StepState&)>;

// A node whose operands have their places. Given to a backend once, when the program is made.
class BoundNode : public NodeReader {
 public:
  using NodeReader::NodeReader;

  virtual ~BoundNode() = default;
  virtual MatrixRef matrix_in(const std::string& name) const = 0;   // absent: data null
  virtual MatrixRef matrix_out(const std::string& name) const = 0;  // absent: data null
  virtual void* raw_out(const std::string& name) const = 0;
  virtual StoredRef stored(const std::string& name) const = 0;  // absent: data null
  virtual const KvCacheLayer& cache_layer() const = 0;
  virtual const StepLimits& limits() const = 0;
};

// Runs nodes on one kind of device.
class Backend {
 public:
  virtual ~Backend() = default;

  // Memory for a program's results, zero-filled, 64-byte aligned.
  virtual std::byte* allocate(int64_t bytes) = 0;
  virtual void release(std::byte* memory, int64_t bytes) = 0;

  // Work space that the node's kernel needs at the step limits.
  virtual int64_t scratch_bytes(const BoundNode& node) const = 0;
  virtual Step bind(const BoundNode& node, std::byte* scratch) = 0;
};

}  // namespace kvasir
