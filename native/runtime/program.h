#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "checkpoint/store.h"
#include "runtime/backend.h"
#include "runtime/kv-cache.h"
#include "runtime/memory-plan.h"
#include "runtime/program-description.h"
#include "runtime/step-check.h"

namespace kvasir {

// Elements that JavaScript lends for one step.
struct InputSpan {
  const void* data = nullptr;
  int64_t count = 0;
  DType dtype = DType::kI32;
};
struct OutputSpan {
  void* data = nullptr;
  int64_t count = 0;
  DType dtype = DType::kF32;
};

// A checked program with its memory, ready to run steps. Keeps backend, store and cache alive.
class Program {
 public:
  Program(ProgramDescription description, std::shared_ptr<Backend> backend,
          std::shared_ptr<WeightStore> store, std::shared_ptr<KvCache> cache, StepLimits limits,
          bool checked);
  ~Program();
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  // Runs one step: checks the tables, replays the nodes, copies the outputs asked for. Returns false when `*abort`
  // became nonzero on the way: the outputs are then untouched, and the cache holds some of the step's tokens.
  // Throws Error(kInvalidValue), (kShape) or (kDType) for wrong tables, before anything ran, and Error(kNumeric)
  // when a row of logits has no token that could be chosen.
  bool run(const std::map<std::string, InputSpan>& inputs, const std::map<std::string, OutputSpan>& outputs,
           const std::atomic<int32_t>* abort);

  int64_t arena_bytes() const { return plan_.arena_bytes + scratch_bytes_; }

 private:
  class Node;

  void bind_nodes();
  StepState bind_inputs(const std::map<std::string, InputSpan>& inputs) const;
  void check_outputs(const std::map<std::string, OutputSpan>& outputs, const StepState& step) const;
  void copy_output(const std::string& name, const OutputSpan& to, const StepState& step) const;
  int64_t output_count(int value, const StepState& step) const;
  void poison();
  void check_guards(const StepState& step) const;

  ProgramDescription description_;
  std::shared_ptr<Backend> backend_;
  std::shared_ptr<WeightStore> store_;
  std::shared_ptr<KvCache> cache_;
  StepLimits limits_;
  bool checked_;
  MemoryPlan plan_;
  StepCheck step_check_;
  std::byte* arena_ = nullptr;
  std::byte* scratch_ = nullptr;
  int64_t scratch_bytes_ = 0;
  std::vector<Step> steps_;
};

}  // namespace kvasir
