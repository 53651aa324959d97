#include "backends/cuda-program.h"

#include <algorithm>
#include <cstring>

#include "runtime/memory-plan.h"

namespace kvasir::cuda {

namespace {

constexpr int64_t kInputAlignment = 256;
constexpr int64_t kEntryBytes = 4;

int64_t aligned(int64_t bytes) { return (bytes + kInputAlignment - 1) / kInputAlignment * kInputAlignment; }

// Sizes that graphs are captured for: 1, 2, 4, 8, then multiples of 16.
int64_t rounded_batch(int64_t S) {
  if (S > 8) return (S + 15) / 16 * 16;
  int64_t rounded = 1;
  while (rounded < S) rounded *= 2;
  return rounded;
}

int64_t rounded_up_from(int64_t least, int64_t size) {
  int64_t rounded = least;
  while (rounded < size) rounded *= 2;
  return rounded;
}

// A table that steps may do without.
int64_t rounded_table(int64_t least, int64_t size, int64_t most) {
  return size == 0 ? 0 : std::max(size, std::min(rounded_up_from(least, size), most));
}

// What rows that only fill up a step have in a table: no tokens and no edits after the last ones, no mask, no forced
// token; zeros elsewhere.
enum class Filling { kZero, kLast, kNone };
Filling filling_of(const std::string& table) {
  if (table == "queryStarts" || table == "editStarts") return Filling::kLast;
  return table == "maskRows" || table == "forced" ? Filling::kNone : Filling::kZero;
}

int64_t tables_bytes(const ProgramDescription& program, const StepLimits& limits) {
  int64_t bytes = 0;
  for (const ValueDescription& value : program.values) {
    if (value.kind != ValueKind::kInput) continue;
    int64_t entries = 1;
    for (const Dim& dim : value.shape) entries *= largest(dim, limits);
    bytes += aligned(entries * kEntryBytes);
  }
  return bytes;
}

// Device memory that is given back.
class Lent {
 public:
  Lent(Device& device, int64_t bytes) : device_(device), bytes_(bytes), data_(device.allocate(bytes)) {}
  ~Lent() { device_.release(data_, bytes_); }
  Lent(const Lent&) = delete;
  Lent& operator=(const Lent&) = delete;
  std::byte* data() const { return data_; }

 private:
  Device& device_;
  int64_t bytes_;
  std::byte* data_;
};

}  // namespace

CudaProgram::CudaProgram(std::shared_ptr<Device> device, const std::vector<std::unique_ptr<BoundNode>>& nodes,
                         bool exact)
    : device_(std::move(device)), module_(device_->module()), exact_(exact) {
  if (nodes.empty()) return;
  limits_ = nodes[0]->limits();
  find_inputs(nodes[0]->program());
  launches_ = bind_launches(module_, nodes);
  scratch_bytes_ = scratch_bytes(nodes[0]->program(), limits_);
  inputs_bytes_ = tables_bytes(nodes[0]->program(), limits_);
  try {
    reserve();
  } catch (...) {
    release();
    throw;
  }
}

CudaProgram::~CudaProgram() {
  (void)module_.synchronize(device_->stream());
  graphs_.clear();
  release();
}

void CudaProgram::find_inputs(const ProgramDescription& program) {
  num_values_ = program.values.size();
  for (size_t i = 0; i < num_values_; i++) {
    const ValueDescription& value = program.values[i];
    if (value.kind != ValueKind::kInput) continue;
    inputs_.push_back({static_cast<int>(i), value.name, value.shape});
  }
}

int64_t CudaProgram::work_bytes(const ProgramDescription& program, const StepLimits& limits) {
  return scratch_bytes(program, limits) + tables_bytes(program, limits);
}

void CudaProgram::reserve() {
  scratch_ = device_->allocate(scratch_bytes_);
  inputs_on_device_ = device_->allocate(inputs_bytes_);
  inputs_staged_ = device_->allocate_pinned(inputs_bytes_);
}

void CudaProgram::release() {
  device_->release(scratch_, scratch_bytes_);
  device_->release(inputs_on_device_, inputs_bytes_);
  device_->release_pinned(inputs_staged_, inputs_bytes_);
  device_->release_pinned(landing_, landing_bytes_);
}

Execution CudaProgram::execution() const {
  const DeviceInfo& info = device_->info();
  return {*device_->stream(),   scratch_,          device_->counters(),    info.architecture,
          info.multiprocessors, info.shared_bytes, info.architecture >= 90};
}

// A token for every sequence, and a row for every token.
bool CudaProgram::can_capture(const StepState& step) const {
  const int64_t S = step.of(Symbol::kN);
  if (exact_) return false;
  for (const Input& input : inputs_) {
    const Symbol rows = input.shape[0].symbol;
    if ((rows == Symbol::kS || rows == Symbol::kR) && step.size(input.shape[0]) != S) return false;
  }
  return true;
}

StepState CudaProgram::rounded_up(const StepState& step) const {
  StepState sizes = step;
  const int64_t most = std::min(limits_.max_tokens, std::min(limits_.max_sequences, limits_.max_rows));
  const int64_t S = std::max(step.of(Symbol::kN), std::min(rounded_batch(step.of(Symbol::kN)), most));
  for (Symbol symbol : {Symbol::kN, Symbol::kR, Symbol::kS})
    if (step.of(symbol) > 0) sizes.of(symbol) = S;
  sizes.of(Symbol::kS1) = S + 1;
  sizes.of(Symbol::kR1) = S + 1;
  sizes.of(Symbol::kW) = rounded_table(8, step.of(Symbol::kW), limits_.max_blocks);
  sizes.of(Symbol::kE) = rounded_table(64, step.of(Symbol::kE), limits_.max_edits);
  sizes.of(Symbol::kM) = rounded_table(1, step.of(Symbol::kM), limits_.max_masks);
  return sizes;
}

// The tables' addresses on the device for a step of these sizes.
StepState CudaProgram::place_inputs(const StepState& sizes) const {
  StepState placed = sizes;
  placed.inputs.assign(num_values_, nullptr);
  int64_t offset = 0;
  for (const Input& input : inputs_) {
    placed.inputs[static_cast<size_t>(input.value)] = inputs_on_device_ + offset;
    int64_t entries = 1;
    for (const Dim& dim : input.shape) entries *= sizes.size(dim);
    offset += aligned(entries * kEntryBytes);
  }
  return placed;
}

// All of the step's tables in one copy. Columns that the step does not have are zeros.
void CudaProgram::copy_inputs(const StepState& step, const StepState& on_device) {
  std::byte* end = inputs_staged_;
  for (const Input& input : inputs_) {
    const std::byte* place =
        static_cast<const std::byte*>(on_device.inputs[static_cast<size_t>(input.value)]);
    std::byte* to = inputs_staged_ + (place - inputs_on_device_);
    const int32_t* from = step.input<int32_t>(input.value);
    const bool table = input.shape.size() > 1;
    const int64_t rows = step.size(input.shape[0]), all_rows = on_device.size(input.shape[0]);
    const int64_t cols = table ? step.size(input.shape[1]) : 1;
    const int64_t all_cols = table ? on_device.size(input.shape[1]) : 1;
    std::memset(to, 0, static_cast<size_t>(all_rows * all_cols * kEntryBytes));
    const bool whole = cols == all_cols && rows > 0;
    for (int64_t row = 0; row < (whole ? 1 : rows); row++)
      std::memcpy(to + row * all_cols * kEntryBytes, from + row * cols,
                  static_cast<size_t>((whole ? rows * cols : cols) * kEntryBytes));
    if (const Filling filling = filling_of(input.name); filling != Filling::kZero && cols == 1)
      std::fill(reinterpret_cast<int32_t*>(to) + rows, reinterpret_cast<int32_t*>(to) + all_rows,
                filling == Filling::kLast ? from[rows - 1] : -1);
    end = to + all_rows * all_cols * kEntryBytes;
  }
  if (end == inputs_staged_) return;
  check(module_,
        module_.copy_to_device(device_->stream(), inputs_on_device_, inputs_staged_, end - inputs_staged_));
}

bool CudaProgram::launch_nodes(const StepState& on_device) {
  Execution e = execution();
  for (const Launch& node : launches_) {
    if (on_device.aborted()) return false;
    node(on_device, e);
  }
  return true;
}

const CapturedGraph& CudaProgram::graph_of(const StepState& on_device) {
  const GraphKey key{on_device.of(Symbol::kN), on_device.of(Symbol::kW), on_device.of(Symbol::kE),
                     on_device.of(Symbol::kM)};
  auto found = graphs_.find(key);
  if (found != graphs_.end()) return found->second;
  StepState step = on_device;
  step.abort = nullptr;  // a captured step is whole
  Graph* graph = nullptr;
  check(module_, module_.begin_capture(device_->stream()));
  try {
    launch_nodes(step);
  } catch (...) {
    if (module_.end_capture(device_->stream(), &graph) == 0) module_.destroy_graph(graph);
    throw;
  }
  check(module_, module_.end_capture(device_->stream(), &graph));
  return graphs_.try_emplace(key, module_, graph).first->second;
}

bool CudaProgram::launch(const StepState& on_device, bool captured) {
  if (!captured) return launch_nodes(on_device);
  const CapturedGraph& graph = graph_of(on_device);
  if (on_device.aborted()) return false;
  check(module_, module_.launch_graph(device_->stream(), graph.get()));
  return true;
}

// Everything in one go, packed once it is there.
void CudaProgram::fetch(const std::vector<Fetch>& fetches) {
  int64_t bytes = 0;
  for (const Fetch& f : fetches) bytes += aligned(f.pitch * f.height);
  if (bytes > landing_bytes_) {
    device_->release_pinned(landing_, landing_bytes_);
    landing_ = nullptr;
    landing_bytes_ = 0;
    landing_ = device_->allocate_pinned(bytes);
    landing_bytes_ = bytes;
  }
  std::byte* at = landing_;
  for (const Fetch& f : fetches) {
    const int64_t whole = f.pitch * (f.height - 1) + f.width;
    check(module_, module_.copy_to_host(device_->stream(), at, f.from, whole));
    at += aligned(f.pitch * f.height);
  }
  device_->synchronize();
  at = landing_;
  for (const Fetch& f : fetches) {
    for (int64_t row = 0; row < f.height; row++)
      std::memcpy(static_cast<std::byte*>(f.to) + row * f.width, at + row * f.pitch,
                  static_cast<size_t>(f.width));
    at += aligned(f.pitch * f.height);
  }
}

bool CudaProgram::run(const StepState& step, const std::vector<Fetch>& fetches) {
  if (step.aborted()) return false;
  const bool captured = can_capture(step);
  const StepState on_device = place_inputs(captured ? rounded_up(step) : step);
  copy_inputs(step, on_device);
  const bool whole = launch(on_device, captured);
  if (!whole || step.aborted()) {
    device_->synchronize();
    return false;
  }
  fetch(fetches);
  return true;
}

int64_t CudaProgram::run_ahead(const StepState& step, const AheadPlan& plan) {
  const bool captured = can_capture(step);
  const StepState on_device = place_inputs(captured ? rounded_up(step) : step);
  copy_inputs(step, on_device);
  const int64_t S = step.of(Symbol::kN), bytes = plan.count * S * kEntryBytes;
  Lent ids(*device_, bytes), logprobs(*device_, bytes);
  auto table = [&](int value) {
    return value < 0 ? nullptr : const_cast<int32_t*>(on_device.input<int32_t>(value));
  };
  Advance advance{};
  advance.ids = reinterpret_cast<const int32_t*>(plan.ids);
  advance.logprobs = reinterpret_cast<const float*>(plan.logprobs);
  advance.tokens = table(plan.tokens);
  advance.positions = table(plan.positions);
  advance.context_lengths = table(plan.context_lengths);
  advance.counter = table(plan.counter);
  advance.ids_log = reinterpret_cast<int32_t*>(ids.data());
  advance.logprobs_log = reinterpret_cast<float*>(logprobs.data());
  advance.S = S;
  int64_t done = 0;
  for (; done < plan.count && launch(on_device, captured); done++) {
    Execution e = execution();
    check(module_, module_.kernels.advance(advance, e));
    advance.ids_log += S;
    advance.logprobs_log += S;
  }
  fetch({{ids.data(), bytes, plan.ids_log, bytes, 1}, {logprobs.data(), bytes, plan.logprobs_log, bytes, 1}});
  return done;
}

}  // namespace kvasir::cuda
