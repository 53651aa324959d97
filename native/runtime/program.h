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
  // Throws Error(kInvalidValue), (kShape) or (kDType) for wrong tables, before anything ran. A row of logits without a
  // token that could be chosen has the id -1.
  bool run(const std::map<std::string, InputSpan>& inputs, const std::map<std::string, OutputSpan>& outputs,
           const std::atomic<int32_t>* abort);

  // Runs up to `count` steps of a program that samples, one after another: every sequence has one token in
  // `inputs`, and each following step feeds the tokens that the one before sampled, at the next positions, for
  // which the block tables must have room. `ids` and `logprobs` take (count, S). Returns the number of steps that
  // ran before `*abort` became nonzero, or up to the first in which a row has the id -1; what later steps left in `ids`
  // and `logprobs` means nothing. The bits are those of `count` calls of run(). Throws as run() does.
  int64_t run_ahead(const std::map<std::string, InputSpan>& inputs, int64_t count, const OutputSpan& ids,
                    const OutputSpan& logprobs, const std::atomic<int32_t>* abort);

  // What a program, its weights and its cache take of the device's memory. Checks all as the constructor does.
  struct MemoryNeeds {
    int64_t weights, cache, activations;
  };
  static MemoryNeeds plan(const ProgramDescription& description, const Backend& backend, const KvCache* cache,
                          const StepLimits& limits);

  int64_t arena_bytes() const { return plan_.arena_bytes + backend_->work_bytes(description_, limits_); }

 private:
  class Node;

  void store_constants();
  void release();
  const std::byte* constant(const void* numbers) const { return constants_ + constant_offsets_.at(numbers); }
  void bind_nodes();
  void check_ahead(const StepState& step, const AheadPlan& plan) const;
  AheadPlan ahead_plan(const StepState& step, const OutputSpan& ids, const OutputSpan& logprobs,
                       int64_t count) const;
  StepState bind_inputs(const std::map<std::string, InputSpan>& inputs) const;
  void check_outputs(const std::map<std::string, OutputSpan>& outputs, const StepState& step) const;
  Fetch fetch_of(int value, void* to, const StepState& step) const;
  const std::byte* address(int value) const {
    return arena_ + plan_.values[static_cast<size_t>(value)].offset;
  }
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
  std::byte* constants_ = nullptr;
  int64_t constants_bytes_ = 0;
  std::map<const void*, int64_t> constant_offsets_;  // by the numbers' place in the description
  const NodeDescription* sample_ = nullptr;          // the node that samples, if there is one
  std::vector<std::unique_ptr<BoundNode>> nodes_;
  std::unique_ptr<BoundProgram> bound_;
};

}  // namespace kvasir
