#include "runtime/program.h"

#include <algorithm>
#include <cstring>

#include "checkpoint/pack.h"
#include "runtime/program-check.h"

namespace kvasir {

namespace {

constexpr uint8_t kGuardByte = 0xa5;
constexpr uint8_t kPoisonByte = 0xff;  // two or four of them are a NaN
constexpr int64_t kMaxStep = 1 << 20;

void check_limits(const StepLimits& limits) {
  for (int64_t limit : {limits.max_tokens, limits.max_rows, limits.max_sequences, limits.max_blocks})
    if (limit < 1 || limit > kMaxStep)
      throw Error(ErrorKind::kInvalidValue, "program: a step limit must be from 1 to " +
                                                std::to_string(kMaxStep) + ", got " + std::to_string(limit));
  for (int64_t limit : {limits.max_edits, limits.max_masks})
    if (limit < 0 || limit > kMaxStep)
      throw Error(ErrorKind::kInvalidValue, "program: a limit of edits or masks must be from 0 to " +
                                                std::to_string(kMaxStep) + ", got " + std::to_string(limit));
}

// Rows that gate and up take when they alternate, each filled up to whole groups.
int64_t interleaved_rows(Layout layout, int64_t rows) {
  const int64_t group = interleave_rows(layout);
  return 2 * ((rows / 2 + group - 1) / group * group);
}

// Rows that a weight takes in the store.
int64_t rows_in_store(const ValueDescription& v) {
  const int64_t rows = v.shape[0].size;
  if (v.interleaved) return interleaved_rows(v.layout, rows);
  return v.stacked > 0 ? v.stacked * stacked_rows(rows / v.stacked) : rows;
}

// Gives `symbol` its size, or checks that it has it.
void bind_size(StepState& step, std::vector<bool>& known, Symbol symbol, int64_t size,
               const std::string& name) {
  size_t index = static_cast<size_t>(symbol);
  if (known[index] && step.sizes[index] != size)
    throw Error(ErrorKind::kShape, "step: " + name + " gives " + name_of(symbol) + " = " +
                                       std::to_string(size) + ", another table " +
                                       std::to_string(step.sizes[index]));
  known[index] = true;
  step.sizes[index] = size;
  // The bounds of rows or sequences are one more than there are of these.
  if (symbol == Symbol::kR) bind_size(step, known, Symbol::kR1, size + 1, name);
  if (symbol == Symbol::kS) bind_size(step, known, Symbol::kS1, size + 1, name);
}

// A table of two dimensions: where its rows are not known yet, they follow from the columns; else the columns from the
// rows.
void bind_table(StepState& step, std::vector<bool>& known, const ValueDescription& value, int64_t count) {
  const Dim &rows = value.shape[0], &cols = value.shape[1];
  auto is_known = [&](const Dim& dim) {
    return dim.symbol == Symbol::kFixed || known[static_cast<size_t>(dim.symbol)];
  };
  const int64_t width = is_known(cols) ? step.size(cols) : 0;
  if (!is_known(rows)) bind_size(step, known, rows.symbol, width > 0 ? count / width : 0, value.name);
  const int64_t height = step.size(rows);
  if (!is_known(cols)) bind_size(step, known, cols.symbol, height > 0 ? count / height : 0, value.name);
  if (height * step.size(cols) != count)
    throw Error(ErrorKind::kShape, "step: " + value.name + " must be " + to_string(value.shape) + " with " +
                                       std::to_string(height) + " rows, got " + std::to_string(count) +
                                       " entries");
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
      return {owner_.constant(v.data.data()), DType::kF32, Layout::kRows, v.shape[0].size, cols};
    const StoredTensor& tensor = owner_.store_->get(v.name);
    const int64_t rows = rows_in_store(v);
    if (tensor.rows != rows || tensor.cols != cols || tensor.dtype != v.dtype || tensor.layout != v.layout)
      fail(ErrorKind::kShape, name + " " + v.name + ": the store holds another shape, dtype or layout than " +
                                  to_string(v.shape) + " " + name_of(v.dtype));
    return {tensor.data, tensor.dtype, tensor.layout, tensor.rows, tensor.cols};
  }

  const double* stored_numbers(const std::string& attribute) const override {
    return reinterpret_cast<const double*>(owner_.constant(numbers(attribute).data()));
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
    return {address(id), owner_.plan_.values[static_cast<size_t>(id)].stride,
            v.shape.size() > 1 ? v.shape[1].size : 1, v.shape[0], v.dtype};
  }

  const Program& owner_;
};

Program::Program(ProgramDescription description, std::shared_ptr<Backend> backend,
                 std::shared_ptr<WeightStore> store, std::shared_ptr<KvCache> cache, StepLimits limits,
                 bool checked)
    : description_((check_limits(limits), check_program(description, cache.get(), backend->rules()),
                    std::move(description))),
      backend_(std::move(backend)),
      store_(std::move(store)),
      cache_(std::move(cache)),
      limits_(limits),
      checked_(checked),
      plan_(plan_memory(description_, limits, checked)),
      step_check_(description_, cache_.get()) {
  if (store_->memory() != backend_->weight_memory())
    throw Error(ErrorKind::kInvalidValue, "program: the weights lie in another device's memory");
  try {
    arena_ = backend_->allocate(plan_.arena_bytes);
    store_constants();
    bind_nodes();
  } catch (...) {
    release();
    throw;
  }
}

Program::~Program() { release(); }

Program::MemoryNeeds Program::plan(const ProgramDescription& description, const Backend& backend,
                                   const KvCache* cache, const StepLimits& limits) {
  check_limits(limits);
  check_program(description, cache, backend.rules());
  MemoryNeeds needs{
      0, cache != nullptr ? cache->bytes() : 0,
      plan_memory(description, limits, false).arena_bytes + backend.work_bytes(description, limits)};
  for (const ValueDescription& value : description.values) {
    if (value.kind != ValueKind::kWeight) continue;
    const int64_t cols = value.shape.size() > 1 ? value.shape[1].size : 1;
    const int64_t rows = rows_in_store(value);
    needs.weights += static_cast<int64_t>(stored_bytes({value.name, value.dtype, value.layout, rows, cols}));
  }
  return needs;
}

void Program::release() {
  bound_.reset();
  backend_->release(constants_, constants_bytes_);
  backend_->release(arena_, plan_.arena_bytes);
}

// Constants and arrays of numbers among the attributes, where kernels can read them.
void Program::store_constants() {
  std::vector<std::byte> image;
  auto add = [&](const void* numbers, size_t bytes) {
    constant_offsets_[numbers] = static_cast<int64_t>(image.size());
    const std::byte* begin = static_cast<const std::byte*>(numbers);
    image.insert(image.end(), begin, begin + bytes);
    image.resize((image.size() + 63) / 64 * 64);
  };
  for (const ValueDescription& value : description_.values)
    if (value.kind == ValueKind::kConstant) add(value.data.data(), value.data.size() * sizeof(float));
  for (const NodeDescription& node : description_.nodes)
    for (const auto& [name, attribute] : node.attributes)
      if (const auto* numbers = std::get_if<std::vector<double>>(&attribute))
        add(numbers->data(), numbers->size() * sizeof(double));
  constants_bytes_ = static_cast<int64_t>(image.size());
  constants_ = backend_->allocate(constants_bytes_);
  if (constants_bytes_ > 0) backend_->write(constants_, image.data(), constants_bytes_);
}

void Program::bind_nodes() {
  for (const NodeDescription& node : description_.nodes) {
    if (node.op == "sample") sample_ = &node;
    if (node.op != "slice") nodes_.push_back(std::make_unique<Node>(*this, node));
  }
  bound_ = backend_->bind(nodes_, checked_);
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
    if (value.shape.size() != 1) continue;
    const Dim& length = value.shape[0];
    if (length.symbol != Symbol::kFixed) {
      bind_size(step, known, length.symbol, span.count, value.name);
    } else if (span.count != length.size) {
      throw Error(ErrorKind::kShape, "step: " + value.name + " must be " + to_string(value.shape) + ", got " +
                                         std::to_string(span.count) + " entries");
    }
  }
  for (const ValueDescription& value : description_.values)
    if (value.kind == ValueKind::kInput && value.shape.size() == 2)
      bind_table(step, known, value, inputs.at(value.name).count);
  for (Symbol symbol : {Symbol::kN, Symbol::kR, Symbol::kS, Symbol::kW, Symbol::kE, Symbol::kM}) {
    size_t index = static_cast<size_t>(symbol);
    const int64_t least = symbol == Symbol::kE || symbol == Symbol::kM ? 0 : 1;
    int64_t most = largest({symbol, 0}, limits_);
    if (known[index] && (step.sizes[index] < least || step.sizes[index] > most))
      throw Error(ErrorKind::kInvalidValue, std::string("step: ") + name_of(symbol) + " must be from " +
                                                std::to_string(least) + " to " + std::to_string(most) +
                                                ", got " + std::to_string(step.sizes[index]));
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
    // Floats of any type reach the caller as f32.
    const DType wanted = value.dtype == DType::kI32 ? DType::kI32 : DType::kF32;
    if (span.dtype != wanted || span.count < count)
      throw Error(ErrorKind::kShape, "step: output " + name + " must be " + std::to_string(count) +
                                         " elements of " + name_of(wanted) + ", got " +
                                         std::to_string(span.count) + " of " + name_of(span.dtype));
  }
}

// Rows of a result, packed.
Fetch Program::fetch_of(int id, void* to, const StepState& step) const {
  const ValueDescription& value = description_.values[static_cast<size_t>(id)];
  int64_t rows = step.size(value.shape[0]), cols = output_count(id, step) / std::max<int64_t>(rows, 1);
  int64_t element = size_of(value.dtype), pitch = plan_.values[static_cast<size_t>(id)].stride * element;
  return {address(id), pitch, to, cols * element, rows};
}

bool Program::run(const std::map<std::string, InputSpan>& inputs,
                  const std::map<std::string, OutputSpan>& outputs, const std::atomic<int32_t>* abort) {
  StepState step = bind_inputs(inputs);
  step.abort = abort;
  step_check_.run(step);
  check_outputs(outputs, step);
  if (checked_) poison();

  // Outputs of 16 bits wait here to be widened.
  struct Landing {
    int value;
    const OutputSpan* to;
    std::vector<std::byte> bytes;
  };
  std::vector<Landing> landings;
  std::vector<Fetch> fetches;
  for (const auto& [name, span] : outputs) {
    const int id = description_.outputs.at(name);
    const DType dtype = description_.values[static_cast<size_t>(id)].dtype;
    if (span.dtype == dtype) {
      fetches.push_back(fetch_of(id, span.data, step));
    } else {
      const int64_t bytes = output_count(id, step) * size_of(dtype);
      landings.push_back({id, &span, std::vector<std::byte>(static_cast<size_t>(bytes))});
    }
  }
  for (Landing& landing : landings) fetches.push_back(fetch_of(landing.value, landing.bytes.data(), step));
  if (!bound_->run(step, fetches)) return false;

  if (checked_) check_guards(step);
  for (const Landing& landing : landings)
    widen(description_.values[static_cast<size_t>(landing.value)].dtype, landing.bytes.data(),
          static_cast<float*>(landing.to->data), output_count(landing.value, step));
  return true;
}

AheadPlan Program::ahead_plan(const StepState& step, const OutputSpan& ids, const OutputSpan& logprobs,
                              int64_t count) const {
  AheadPlan plan{-1, -1, -1, -1, nullptr, nullptr, count, nullptr, nullptr};
  for (size_t i = 0; i < description_.values.size(); i++) {
    const ValueDescription& value = description_.values[i];
    if (value.kind != ValueKind::kInput) continue;
    if (value.name == "tokens") plan.tokens = static_cast<int>(i);
    if (value.name == "positions") plan.positions = static_cast<int>(i);
    if (value.name == "contextLengths") plan.context_lengths = static_cast<int>(i);
    if (value.name == "counter") plan.counter = static_cast<int>(i);
  }
  if (sample_ == nullptr || plan.tokens < 0)
    throw Error(ErrorKind::kInvalidValue, "run ahead: the program must sample what it feeds");
  int64_t S = step.of(Symbol::kN);
  if (ids.dtype != DType::kI32 || logprobs.dtype != DType::kF32 || ids.count < count * S ||
      logprobs.count < count * S)
    throw Error(ErrorKind::kShape, "run ahead: ids and logprobs must be i32 and f32 of (" +
                                       std::to_string(count) + ", " + std::to_string(S) + ")");
  plan.ids = address(sample_->outputs.at("ids"));
  plan.logprobs = address(sample_->outputs.at("logprobs"));
  plan.ids_log = static_cast<int32_t*>(ids.data);
  plan.logprobs_log = static_cast<float*>(logprobs.data);
  return plan;
}

// One token a sequence, sampled from in its place, and the tables of the last step valid.
void Program::check_ahead(const StepState& step, const AheadPlan& plan) const {
  const int64_t S = step.of(Symbol::kN);
  auto fail = [](const std::string& problem) {
    throw Error(ErrorKind::kInvalidValue, "run ahead: " + problem);
  };
  if (step.of(Symbol::kR) != S) fail("every token must have an output row");
  if (plan.context_lengths >= 0 && step.of(Symbol::kS) != S) fail("every sequence must have one token");
  for (size_t i = 0; i < description_.values.size(); i++) {
    const ValueDescription& value = description_.values[i];
    if (value.kind != ValueKind::kInput || value.name != "outputRows") continue;
    for (int64_t r = 0; r < S; r++)
      if (step.input<int32_t>(static_cast<int>(i))[r] != r) fail("outputRows must be 0, 1 and so on");
  }
  StepState last = step;
  std::vector<std::vector<int32_t>> advanced;
  for (int input : {plan.positions, plan.context_lengths, plan.counter}) {
    if (input < 0) continue;
    std::vector<int32_t>& table =
        advanced.emplace_back(step.input<int32_t>(input), step.input<int32_t>(input) + S);
    for (int32_t& entry : table) {
      if (entry > (1 << 30)) fail("positions must stay below 2^30");
      entry += static_cast<int32_t>(plan.count - 1);
    }
    last.inputs[static_cast<size_t>(input)] = table.data();
  }
  step_check_.run(last);
}

int64_t Program::run_ahead(const std::map<std::string, InputSpan>& inputs, int64_t count,
                           const OutputSpan& ids, const OutputSpan& logprobs,
                           const std::atomic<int32_t>* abort) {
  if (count < 1 || count > kMaxStep)
    throw Error(ErrorKind::kInvalidValue, "run ahead: count must be from 1 to " + std::to_string(kMaxStep));
  StepState step = bind_inputs(inputs);
  step.abort = abort;
  step_check_.run(step);
  const AheadPlan plan = ahead_plan(step, ids, logprobs, count);
  check_ahead(step, plan);
  const int64_t S = step.of(Symbol::kN), done = bound_->run_ahead(step, plan);
  // A row without a token has nothing to feed to the steps after it.
  for (int64_t i = 0; i < done; i++)
    if (std::any_of(plan.ids_log + i * S, plan.ids_log + (i + 1) * S, [](int32_t id) { return id < 0; }))
      return i + 1;
  return done;
}

// NaN everywhere a kernel should write, a known pattern everywhere none may.
void Program::poison() {
  std::vector<uint8_t> image(static_cast<size_t>(plan_.arena_bytes), kGuardByte);
  for (size_t i = 0; i < plan_.bytes.size(); i++)
    std::fill_n(image.begin() + std::max<int64_t>(plan_.values[i].offset, 0), plan_.bytes[i], kPoisonByte);
  backend_->write(arena_, image.data(), plan_.arena_bytes);
}

// A kernel may write the rows of this step into its own result, and nothing else.
void Program::check_guards(const StepState& step) const {
  std::vector<uint8_t> image(static_cast<size_t>(plan_.arena_bytes));
  backend_->read(image.data(), arena_, plan_.arena_bytes);
  std::vector<bool> writable(image.size()), inside(image.size());
  for (size_t i = 0; i < plan_.bytes.size(); i++) {
    if (plan_.bytes[i] == 0) continue;
    int64_t used = output_count(static_cast<int>(i), step) * size_of(description_.values[i].dtype);
    std::fill_n(writable.begin() + plan_.values[i].offset, used, true);
    std::fill_n(inside.begin() + plan_.values[i].offset, plan_.bytes[i], true);
  }
  for (size_t at = 0; at < writable.size(); at++)
    if (!writable[at] && image[at] != (inside[at] ? kPoisonByte : kGuardByte))
      throw Error(ErrorKind::kInternal,
                  "program: a kernel wrote outside its result, at arena byte " + std::to_string(at));
}

}  // namespace kvasir
