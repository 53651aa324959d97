#include "backends/cpu.h"

#include <chrono>
#include <cstring>
#include <functional>

#include "backends/node-parameters.h"
#include "checkpoint/weight-memory.h"
#include "platform/platform.h"
#include "runtime/memory-plan.h"
#include "types/error.h"

namespace kvasir {

namespace baseline {
extern const CpuKernels kCpuKernels;
}
#if defined(__aarch64__)
namespace dotprod {
extern const CpuKernels kCpuKernels;
}
#endif
#if defined(__x86_64__)
namespace avx2 {
extern const CpuKernels kCpuKernels;
}
namespace avxvnni {
extern const CpuKernels kCpuKernels;
}
namespace avx512 {
extern const CpuKernels kCpuKernels;
}
#endif

namespace {

struct IsaRow {
  const CpuKernels* kernels;
  bool (*runs_here)(const platform::CpuFeatures&);
};

// The best first. native/sources.json lists the same of each architecture.
const IsaRow kIsas[] = {
#if defined(__x86_64__)
    {&avx512::kCpuKernels,
     [](const platform::CpuFeatures& f) { return f.avx512 && f.avx512_vnni && f.avx512_bf16; }},
    {&avxvnni::kCpuKernels, [](const platform::CpuFeatures& f) { return f.avx_vnni; }},
    {&avx2::kCpuKernels, [](const platform::CpuFeatures& f) { return f.avx2; }},
#endif
#if defined(__aarch64__)
    {&dotprod::kCpuKernels, [](const platform::CpuFeatures& f) { return f.arm_dotprod; }},
#endif
    {&baseline::kCpuKernels, [](const platform::CpuFeatures&) { return true; }},
};

const CpuKernels& choose_kernels(const std::string& isa) {
  platform::CpuFeatures features = platform::cpu_features();
  std::string known;
  for (const IsaRow& row : kIsas) {
    known += (known.empty() ? "" : ", ") + std::string(row.kernels->isa);
    if (!isa.empty() && isa != row.kernels->isa) continue;
    if (row.runs_here(features)) return *row.kernels;
    if (!isa.empty()) throw Error(ErrorKind::kDevice, "isa: this processor cannot run " + isa);
  }
  throw Error(ErrorKind::kDevice, "isa: must be one of " + known + ", got " + isa);
}

// Runs one node of a step.
using Step = std::function<void(const StepState&)>;

// What binding an op needs beside the node.
struct Binding {
  const BoundNode& node;
  const CpuKernels& kernels;
  ThreadPool& pool;
  std::byte* scratch;
  Preferences preferences;
};

// A step that runs `kernel` on the node's parameters.
template <typename Params, typename Kernel>
Step make_step(const Binding& b, Kernel& kernel, const Parameters<Params>& parameters) {
  return [parameters, &kernel, &pool = b.pool, scratch = b.scratch,
          preferences = b.preferences](const StepState& step) {
    Execution execution{pool, scratch, step.abort, preferences};
    kernel(parameters.at(step), execution);
  };
}

struct OpRow {
  const char* op;
  Step (*bind)(const Binding&);
};

const OpRow kOps[] = {
    {"activation",
     [](const Binding& b) { return make_step(b, b.kernels.activation, activation_parameters(b.node)); }},
    {"add", [](const Binding& b) { return make_step(b, b.kernels.add, add_parameters(b.node)); }},
    {"adjust-logits",
     [](const Binding& b) {
       return make_step(b, b.kernels.adjust_logits, adjust_logits_parameters(b.node));
     }},
    {"attention",
     [](const Binding& b) { return make_step(b, b.kernels.attention, attention_parameters(b.node)); }},
    {"embedding",
     [](const Binding& b) { return make_step(b, b.kernels.embedding, embedding_parameters(b.node)); }},
    {"gather-rows",
     [](const Binding& b) { return make_step(b, b.kernels.gather_rows, gather_rows_parameters(b.node)); }},
    {"kv-append",
     [](const Binding& b) { return make_step(b, b.kernels.kv_append, kv_append_parameters(b.node)); }},
    {"layer-norm",
     [](const Binding& b) { return make_step(b, b.kernels.layer_norm, layer_norm_parameters(b.node)); }},
    {"linear", [](const Binding& b) { return make_step(b, b.kernels.linear, linear_parameters(b.node)); }},
    {"rms-norm",
     [](const Binding& b) { return make_step(b, b.kernels.rms_norm, rms_norm_parameters(b.node)); }},
    {"rope", [](const Binding& b) { return make_step(b, b.kernels.rope, rope_parameters(b.node)); }},
    {"rope-table",
     [](const Binding& b) { return make_step(b, b.kernels.rope_table, rope_table_parameters(b.node)); }},
    {"sample", [](const Binding& b) { return make_step(b, b.kernels.sample, sample_parameters(b.node)); }},
    {"scale", [](const Binding& b) { return make_step(b, b.kernels.scale, scale_parameters(b.node)); }},
    {"softmax", [](const Binding& b) { return make_step(b, b.kernels.softmax, softmax_parameters(b.node)); }},
    {"top-logits",
     [](const Binding& b) { return make_step(b, b.kernels.top_logits, top_logits_parameters(b.node)); }},
};

}  // namespace

std::vector<std::string> runnable_isas() {
  std::vector<std::string> names;
  platform::CpuFeatures features = platform::cpu_features();
  for (const IsaRow& row : kIsas)
    if (row.runs_here(features)) names.push_back(row.kernels->isa);
  return names;
}

CpuBackend::CpuBackend(int num_threads, const std::string& isa)
    : kernels_(choose_kernels(isa)), pool_(num_threads), weight_memory_(host_memory()) {}

const DeviceRules& CpuBackend::rules() const {
  static const DeviceRules kRules = {Layout::kPanels,
                                     KeyLayout::kByChannel,
                                     {DType::kF32},
                                     {DType::kF32, DType::kF16, DType::kBF16, DType::kQ8},
                                     false};
  return kRules;
}

namespace {

template <typename F>
double seconds_of(const F& body) {
  auto start = std::chrono::steady_clock::now();
  body();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

double CpuBackend::probe_arithmetic(Arithmetic arithmetic) {
  Execution execution{pool_, nullptr, nullptr};
  kernels_.probe_arithmetic(execution, arithmetic, 1 << 16);
  int64_t operations = 0;
  double seconds =
      seconds_of([&] { operations = kernels_.probe_arithmetic(execution, arithmetic, 1 << 22); });
  return static_cast<double>(operations) / seconds;
}

double CpuBackend::probe_read(int64_t bytes) {
  bytes = std::max<int64_t>(bytes >> 20, 1) << 20;
  // Every page is about to be touched.
  if (static_cast<uint64_t>(bytes) > platform::available_memory())
    throw Error(ErrorKind::kOutOfMemory, "probeRead: " + std::to_string(bytes) + " bytes are not available");
  std::byte* memory = allocate(bytes);
  std::memset(memory, 1, static_cast<size_t>(bytes));
  Execution execution{pool_, nullptr, nullptr, platform::cpu_features().intel};
  kernels_.probe_read(execution, memory, bytes);
  double seconds = seconds_of([&] { kernels_.probe_read(execution, memory, bytes); });
  release(memory, bytes);
  return static_cast<double>(bytes) / seconds;
}

std::byte* CpuBackend::allocate(int64_t bytes) {
  return bytes == 0 ? nullptr : static_cast<std::byte*>(platform::reserve_pages(static_cast<size_t>(bytes)));
}

void CpuBackend::release(std::byte* memory, int64_t bytes) {
  if (memory != nullptr) platform::release_pages(memory, static_cast<size_t>(bytes));
}

void CpuBackend::read(void* to, const std::byte* from, int64_t bytes) {
  std::memcpy(to, from, static_cast<size_t>(bytes));
}

void CpuBackend::write(std::byte* to, const void* from, int64_t bytes) {
  std::memcpy(to, from, static_cast<size_t>(bytes));
}

void CpuBackend::copy(std::byte* to, const std::byte* from, int64_t bytes) {
  std::memcpy(to, from, static_cast<size_t>(bytes));
}

namespace {

// Whether a linear layer packs a single row, too.
bool rounds_operand(const NodeReader& node) {
  return is_blocked(node.input("weight").dtype) || node.flag_or("roundsOperand", false);
}

int64_t scratch_bytes(const NodeReader& node, const StepLimits& limits, int num_threads) {
  const std::string& op = node.node().op;
  if (op == "linear")
    return linear_scratch_bytes(rounds_operand(node), largest(node.input("x").shape[0], limits),
                                node.input_cols("x"));
  if (op == "attention") return kAttentionScratchBytesPerThread * num_threads;
  if (op == "sample") return sample_scratch_bytes_per_thread(node.input_cols("logits")) * num_threads;
  if (op == "top-logits") return top_logits_scratch_bytes_per_thread(node.input_cols("logits")) * num_threads;
  return 0;
}

// Steps that run one after another on the calling thread and the pool's.
class CpuProgram : public BoundProgram {
 public:
  CpuProgram(CpuBackend& backend, const CpuKernels& kernels,
             const std::vector<std::unique_ptr<BoundNode>>& nodes)
      : backend_(backend) {
    if (nodes.empty()) return;
    scratch_bytes_ = backend.work_bytes(nodes[0]->program(), nodes[0]->limits());
    scratch_ = backend.allocate(scratch_bytes_);
    // Fetching ahead, measured on Sapphire Rapids: a quarter to a half less time for one row; on Zen 4 up to 40 % more.
    // Products of bf16, in multiply-adds: on Sapphire Rapids half as many as of f32, on Zen 5 1.9 times as many.
    const bool intel = platform::cpu_features().intel;
    const Preferences preferences{.fetch_ahead = intel, .bf16_products = !intel};
    for (const auto& node : nodes)
      steps_.push_back(bind({*node, kernels, backend.pool(), scratch_, preferences}));
  }
  ~CpuProgram() override { backend_.release(scratch_, scratch_bytes_); }

  bool run(const StepState& step, const std::vector<Fetch>& fetches) override {
    for (const Step& node : steps_) {
      if (step.aborted()) return false;
      node(step);
    }
    if (step.aborted()) return false;
    for (const Fetch& fetch : fetches) copy(fetch);
    return true;
  }

  int64_t run_ahead(const StepState& first, const AheadPlan& plan) override;

 private:
  static Step bind(const Binding& binding) {
    for (const OpRow& row : kOps)
      if (binding.node.node().op == row.op) return row.bind(binding);
    binding.node.fail(ErrorKind::kInternal, "the CPU has no kernel for this op");
  }

  static void copy(const Fetch& fetch) {
    for (int64_t row = 0; row < fetch.height; row++)
      std::memcpy(static_cast<std::byte*>(fetch.to) + row * fetch.width, fetch.from + row * fetch.pitch,
                  static_cast<size_t>(fetch.width));
  }

  CpuBackend& backend_;
  std::byte* scratch_ = nullptr;
  int64_t scratch_bytes_ = 0;
  std::vector<Step> steps_;
};

int64_t CpuProgram::run_ahead(const StepState& first, const AheadPlan& plan) {
  StepState step = first;
  const int64_t S = step.of(Symbol::kN);
  std::vector<std::vector<int32_t>> tables;  // of the step under way
  for (int input : {plan.tokens, plan.positions, plan.context_lengths, plan.counter}) {
    std::vector<int32_t>& table = tables.emplace_back();
    if (input < 0) continue;
    table.assign(step.input<int32_t>(input), step.input<int32_t>(input) + S);
  }
  auto use = [&](int input, const std::vector<int32_t>& table) {
    if (input >= 0) step.inputs[static_cast<size_t>(input)] = table.data();
  };
  use(plan.tokens, tables[0]);
  use(plan.positions, tables[1]);
  use(plan.context_lengths, tables[2]);
  use(plan.counter, tables[3]);
  for (int64_t i = 0; i < plan.count; i++) {
    int32_t* ids = plan.ids_log + i * S;
    const std::vector<Fetch> fetches = {{plan.ids, 4, ids, 4 * S, 1},
                                        {plan.logprobs, 4, plan.logprobs_log + i * S, 4 * S, 1}};
    if (!run(step, fetches)) return i;
    // A row without a token ends the run; the caller finds its -1.
    for (int64_t s = 0; s < S; s++)
      if (ids[s] < 0) return i + 1;
    tables[0].assign(ids, ids + S);
    for (size_t t = 1; t < tables.size(); t++)
      for (int32_t& entry : tables[t]) entry++;
  }
  return plan.count;
}

}  // namespace

int64_t CpuBackend::work_bytes(const ProgramDescription& program, const StepLimits& limits) const {
  int64_t most = 0;
  for (const NodeDescription& node : program.nodes)
    most = std::max(most, scratch_bytes(NodeReader(program, node), limits, pool_.num_threads()));
  return most;
}

std::unique_ptr<BoundProgram> CpuBackend::bind(const std::vector<std::unique_ptr<BoundNode>>& nodes, bool) {
  return std::make_unique<CpuProgram>(*this, kernels_, nodes);
}

}  // namespace kvasir
