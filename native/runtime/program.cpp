#include "runtime/program.h"

#include <algorithm>
#include <cstring>

#include "runtime/node-check.h"

namespace kvasir {

namespace {

constexpr uint8_t kGuardByte = 0xa5;
constexpr uint8_t kPoisonByte = 0xff;  // four of them are a NaN
constexpr int64_t kMaxStep = 1 << 20;

void check_limits(const StepLimits& limits) {
  for (int64_t limit : {limits.max_tokens, limits.max_rows, limits.max_sequences, limits.max_blocks})
    if (limit < 1 || limit > kMaxStep)
      throw Error(ErrorKind::kInvalidValue, "program: a step limit must be from 1 to " +
                                                std::to_string(kMaxStep) + ", got " + std::to_string(limit));
}

const char* symbol_name(Symbol symbol) {
  static const char* const kNames[] = {"", "N", "R", "S", "S+1", "W"};
  return kNames[static_cast<int>(symbol)];
}

// Gives `symbol` its size, or checks that it has it.
void bind_size(StepState& step, std::vector<bool>& known, Symbol symbol, int64_t size,
               const std::string& name) {
  size_t index = static_cast<size_t>(symbol);
  if (known[index] && step.sizes[index] != size)
    throw Error(ErrorKind::kShape, "step: " + name + " gives " + symbol_name(symbol) + " = " +
                                       std::to_string(size) + ", another table " +
                                       std::to_string(step.sizes[index]));
  known[index] = true;
  step.sizes[index] = size;
}

}  // namespace

// A node of this program with its operands' addresses.
class Program::Node : public BoundNode {
 public:
  Node(const Program& owner, const NodeDescription& node)
      : BoundNode(owner.description_, node), owner_(owner) {}

  MatrixRef matrix_in(const std::string& name) const override {
    return has_input(name) ? matrix(input_id(name)) : MatrixRef{};
  }
  MatrixRef matrix_out(const std::string& name) const override {
    return has_output(name) ? matrix(output_id(name)) : MatrixRef{};
  }
  void* raw_out(const std::string& name) const override { return address(output_id(name)); }

  StoredRef stored(const std::string& name) const override {
    if (!has_input(name)) return {};
    const ValueDescription& v = input(name);
    int64_t cols = v.shape.size() > 1 ? v.shape[1].size : 1;
    if (v.kind == ValueKind::kConstant)
      return {v.data.data(), DType::kF32, Layout::kRows, v.shape[0].size, cols};
    const StoredTensor& tensor = owner_.store_->get(v.name);
    int64_t rows = v.shape[0].size;
    if (v.interleaved) rows = 2 * panel_count(rows / 2) * kPanelRows;
    if (tensor.rows != rows || tensor.cols != cols || tensor.dtype != v.dtype || tensor.layout != v.layout)
      fail(ErrorKind::kShape, name + " " + v.name + ": the store holds another shape, dtype or layout than " +
                                  to_string(v.shape) + " " + name_of(v.dtype));
    return {tensor.data, tensor.dtype, tensor.layout, tensor.rows, tensor.cols};
  }

  const KvCacheLayer& cache_layer() const override {
    return owner_.cache_->layer(static_cast<int64_t>(number("layer")));
  }
  const StepLimits& limits() const override { return owner_.limits_; }

 private:
  std::byte* address(int id) const {
    return owner_.arena_ + owner_.plan_.values[static_cast<size_t>(id)].offset;
  }

  MatrixRef matrix(int id) const {
    const ValueDescription& v = value(id);
    return {reinterpret_cast<float*>(address(id)), owner_.plan_.values[static_cast<size_t>(id)].stride,
            v.shape.size() > 1 ? v.shape[1].size : 1, v.shape[0]};
  }

  const Program& owner_;
};

Program::Program(ProgramDescription description, std::shared_ptr<Backend> backend,
                 std::shared_ptr<WeightStore> store, std::shared_ptr<KvCache> cache, StepLimits limits,
                 bool checked)
    : description_((check_limits(limits), check_program(description, cache.get()), std::move(description))),
      backend_(std::move(backend)),
      store_(std::move(store)),
      cache_(std::move(cache)),
      limits_(limits),
      checked_(checked),
      plan_(plan_memory(description_, limits, checked)),
      step_check_(description_, cache_.get()) {
  arena_ = backend_->allocate(plan_.arena_bytes);
  try {
    bind_nodes();
  } catch (...) {
    backend_->release(arena_, plan_.arena_bytes);
    backend_->release(scratch_, scratch_bytes_);
    throw;
  }
}

Program::~Program() {
  backend_->release(arena_, plan_.arena_bytes);
  backend_->release(scratch_, scratch_bytes_);
}

void Program::bind_nodes() {
  for (const NodeDescription& node : description_.nodes) {
    if (node.op != "slice")
      scratch_bytes_ = std::max(scratch_bytes_, backend_->scratch_bytes(Node(*this, node)));
  }
  scratch_ = backend_->allocate(scratch_bytes_);
  for (const NodeDescription& node : description_.nodes) {
    if (node.op != "slice") steps_.push_back(backend_->bind(Node(*this, node), scratch_));
  }
}

StepState Program::bind_inputs(const std::map<std::string, InputSpan>& inputs) const {
  StepState step;
  step.inputs.resize(description_.values.size());
  std::vector<bool> known(kNumSymbols);
  for (size_t i = 0; i < description_.values.size(); i++) {
    const ValueDescription& value = description_.values[i];
    if (value.kind != ValueKind::kInput) continue;
    auto found = inputs.find(value.name);
    if (found == inputs.end()) throw Error(ErrorKind::kInvalidType, "step: " + value.name + " is missing");
    const InputSpan& span = found->second;
    if (span.dtype != value.dtype)
      throw Error(ErrorKind::kDType, "step: " + value.name + " must be " + name_of(value.dtype) + ", got " +
                                         name_of(span.dtype));
    step.inputs[i] = span.data;
    if (value.shape.size() == 1) bind_size(step, known, value.shape[0].symbol, span.count, value.name);
    if (value.shape.size() == 1 && value.shape[0].symbol == Symbol::kS)
      bind_size(step, known, Symbol::kS1, span.count + 1, value.name);
  }
  // Two-dimensional tables: (S,W) has the width that is left over, (R,2) must fit.
  for (const ValueDescription& value : description_.values) {
    if (value.kind != ValueKind::kInput || value.shape.size() != 2) continue;
    int64_t count = inputs.at(value.name).count, rows = step.size(value.shape[0]);
    int64_t cols = rows > 0 ? count / rows : 0;
    if (rows * cols != count || (value.shape[1].symbol == Symbol::kFixed && cols != value.shape[1].size))
      throw Error(ErrorKind::kShape, "step: " + value.name + " must be " + to_string(value.shape) + " with " +
                                         std::to_string(rows) + " rows, got " + std::to_string(count) +
                                         " entries");
    if (value.shape[1].symbol != Symbol::kFixed)
      bind_size(step, known, value.shape[1].symbol, cols, value.name);
  }
  for (Symbol symbol : {Symbol::kN, Symbol::kR, Symbol::kS, Symbol::kW}) {
    size_t index = static_cast<size_t>(symbol);
    int64_t most = largest({symbol, 0}, limits_);
    if (known[index] && (step.sizes[index] < 1 || step.sizes[index] > most))
      throw Error(ErrorKind::kInvalidValue, std::string("step: ") + symbol_name(symbol) +
                                                " must be from 1 to " + std::to_string(most) + ", got " +
                                                std::to_string(step.sizes[index]));
  }
  return step;
}

int64_t Program::output_count(int value, const StepState& step) const {
  int64_t count = 1;
  for (const Dim& dim : description_.values[static_cast<size_t>(value)].shape) count *= step.size(dim);
  return count;
}

void Program::check_outputs(const std::map<std::string, OutputSpan>& outputs, const StepState& step) const {
  for (const auto& [name, span] : outputs) {
    auto found = description_.outputs.find(name);
    if (found == description_.outputs.end())
      throw Error(ErrorKind::kInvalidValue, "step: the program has no output " + name);
    const ValueDescription& value = description_.values[static_cast<size_t>(found->second)];
    int64_t count = output_count(found->second, step);
    if (span.dtype != value.dtype || span.count < count)
      throw Error(ErrorKind::kShape, "step: output " + name + " must be " + std::to_string(count) +
                                         " elements of " + name_of(value.dtype) + ", got " +
                                         std::to_string(span.count) + " of " + name_of(span.dtype));
  }
}

void Program::copy_output(const std::string& name, const OutputSpan& to, const StepState& step) const {
  int id = description_.outputs.at(name);
  const ValueDescription& value = description_.values[static_cast<size_t>(id)];
  const Placement& place = plan_.values[static_cast<size_t>(id)];
  int64_t rows = step.size(value.shape[0]), cols = output_count(id, step) / std::max<int64_t>(rows, 1);
  const std::byte* from = arena_ + place.offset;
  std::byte* into = static_cast<std::byte*>(to.data);
  int64_t element = size_of(value.dtype);
  for (int64_t row = 0; row < rows; row++)
    std::memcpy(into + row * cols * element, from + row * place.stride * element,
                static_cast<size_t>(cols * element));
}

bool Program::run(const std::map<std::string, InputSpan>& inputs,
                  const std::map<std::string, OutputSpan>& outputs, const std::atomic<int32_t>* abort) {
  StepState step = bind_inputs(inputs);
  step.abort = abort;
  step_check_.run(step);
  check_outputs(outputs, step);
  if (checked_) poison();
  auto aborted = [&] { return abort != nullptr && abort->load(std::memory_order_relaxed) != 0; };
  for (const Step& node : steps_) {
    if (aborted()) return false;
    node(step);
  }
  if (aborted()) return false;
  if (checked_) check_guards(step);
  for (const NodeDescription& node : description_.nodes) {
    if (node.op != "sample") continue;
    const Placement& place = plan_.values[static_cast<size_t>(node.outputs.at("ids"))];
    const int32_t* ids = reinterpret_cast<const int32_t*>(arena_ + place.offset);
    for (int64_t r = 0; r < step.sizes[static_cast<int>(Symbol::kR)]; r++)
      if (ids[r] < 0)
        throw Error(ErrorKind::kNumeric, "sample: row " + std::to_string(r) +
                                             " of the logits holds NaN or infinity, or nothing finite");
  }
  for (const auto& [name, span] : outputs) copy_output(name, span, step);
  return true;
}

// NaN everywhere a kernel should write, a known pattern everywhere none may.
void Program::poison() {
  std::memset(arena_, kGuardByte, static_cast<size_t>(plan_.arena_bytes));
  for (size_t i = 0; i < plan_.bytes.size(); i++)
    if (plan_.bytes[i] > 0)
      std::memset(arena_ + plan_.values[i].offset, kPoisonByte, static_cast<size_t>(plan_.bytes[i]));
}

// A kernel may write the rows of this step into its own result, and nothing else.
void Program::check_guards(const StepState& step) const {
  std::vector<bool> writable(static_cast<size_t>(plan_.arena_bytes));
  std::vector<bool> inside(writable.size());
  for (size_t i = 0; i < plan_.bytes.size(); i++) {
    if (plan_.bytes[i] == 0) continue;
    int64_t used = output_count(static_cast<int>(i), step) * size_of(description_.values[i].dtype);
    std::fill_n(writable.begin() + plan_.values[i].offset, used, true);
    std::fill_n(inside.begin() + plan_.values[i].offset, plan_.bytes[i], true);
  }
  for (size_t at = 0; at < writable.size(); at++)
    if (!writable[at] && static_cast<uint8_t>(arena_[at]) != (inside[at] ? kPoisonByte : kGuardByte))
      throw Error(ErrorKind::kInternal,
                  "program: a kernel wrote outside its result, at arena byte " + std::to_string(at));
}

}  // namespace kvasir
