#pragma once

#include <array>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "backends/cuda-device.h"
#include "backends/cuda-nodes.h"

namespace kvasir::cuda {

// A program on a device. A step's tables are copied to the device in one piece, its kernels are launched one after
// another, and nothing waits for them but the end of the step. Steps in which every sequence has one token are
// captured as graphs, one for each size of the batch, of the block tables, edits and masks, all rounded up: what varies lies in
// the device's memory, so a graph never changes. What a step has less than its graph is filled up with sequences
// that have no tokens.
class CudaProgram : public BoundProgram {
 public:
  // The scratch memory and the tables of a program.
  static int64_t work_bytes(const ProgramDescription& program, const StepLimits& limits);

  // `exact`: no graphs, and so no rows beyond a step's own.
  CudaProgram(std::shared_ptr<Device> device, const std::vector<std::unique_ptr<BoundNode>>& nodes,
              bool exact);
  ~CudaProgram() override;

  bool run(const StepState& step, const std::vector<Fetch>& fetches) override;
  int64_t run_ahead(const StepState& step, const AheadPlan& plan) override;

 private:
  // A table of the step, of 4-byte entries.
  struct Input {
    int value;
    std::string name;
    std::vector<Dim> shape;
  };

  // The rounded sizes that a graph was captured for: sequences, blocks, edits and masks.
  using GraphKey = std::array<int64_t, 4>;

  void find_inputs(const ProgramDescription& program);
  void reserve();
  void release();
  bool can_capture(const StepState& step) const;
  StepState rounded_up(const StepState& step) const;
  StepState place_inputs(const StepState& sizes) const;
  void copy_inputs(const StepState& step, const StepState& on_device);
  bool launch(const StepState& on_device, bool captured);
  bool launch_nodes(const StepState& on_device);
  const CapturedGraph& graph_of(const StepState& on_device);
  void fetch(const std::vector<Fetch>& fetches);
  Execution execution() const;

  std::shared_ptr<Device> device_;
  const Module& module_;
  const bool exact_;
  StepLimits limits_;
  std::vector<Input> inputs_;
  size_t num_values_ = 0;
  std::vector<Launch> launches_;
  int64_t scratch_bytes_ = 0, inputs_bytes_ = 0, landing_bytes_ = 0;
  std::byte* scratch_ = nullptr;
  std::byte* inputs_on_device_ = nullptr;
  std::byte* inputs_staged_ = nullptr;  // page-locked, as is what follows
  std::byte* landing_ = nullptr;
  std::map<GraphKey, CapturedGraph> graphs_;
};

}  // namespace kvasir::cuda
