#include "backends/cpu.h"

#include <chrono>
#include <cstring>

#include "platform/platform.h"
#include "types/error.h"

namespace kvasir {

namespace baseline {
extern const CpuKernels kCpuKernels;
}
namespace avx2 {
extern const CpuKernels kCpuKernels;
}
namespace avx512 {
extern const CpuKernels kCpuKernels;
}

namespace {

struct IsaRow {
  const CpuKernels* kernels;
  bool (*runs_here)(const platform::CpuFeatures&);
};

// The best first.
const IsaRow kIsas[] = {
    {&avx512::kCpuKernels,
     [](const platform::CpuFeatures& f) { return f.avx512 && f.avx512_vnni && f.avx512_bf16; }},
    {&avx2::kCpuKernels, [](const platform::CpuFeatures& f) { return f.avx2; }},
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

Activation activation_of(const std::string& name) {
  if (name == "relu") return Activation::kRelu;
  if (name == "gelu") return Activation::kGelu;
  if (name == "gelu-tanh") return Activation::kGeluTanh;
  if (name == "silu") return Activation::kSilu;
  return Activation::kNone;
}

// What binding an op needs beside the node.
struct Binding {
  const BoundNode& node;
  const CpuKernels& kernels;
  ThreadPool& pool;
  std::byte* scratch;
};

// Makes a step that runs `kernel` on `fill`'s parameters: those known now, completed by those of the step.
template <typename Params, typename Kernel, typename Fill>
Step make_step(const Binding& b, Kernel& kernel, const Params& params, Fill fill) {
  return [params, fill, &kernel, &pool = b.pool, scratch = b.scratch](const StepState& step) {
    Params p = params;
    fill(p, step);
    Execution execution{pool, scratch, step.abort};
    kernel(p, execution);
  };
}

Step bind_embedding(const Binding& b) {
  StoredRef weight = b.node.stored("weight");
  MatrixRef y = b.node.matrix_out("y");
  int64_t V = b.node.input("weight").shape[0].size;
  Embedding p{nullptr, weight.data, y.data, 0, V, y.cols, y.stride, weight.dtype, weight.layout};
  return make_step(b, b.kernels.embedding, p,
                   [ids = b.node.input_id("ids")](Embedding& q, const StepState& s) {
                     q.ids = s.input<int32_t>(ids);
                     q.N = s.sizes[static_cast<int>(Symbol::kN)];
                   });
}

Step bind_linear(const Binding& b) {
  MatrixRef x = b.node.matrix_in("x"), residual = b.node.matrix_in("residual"), y = b.node.matrix_out("y");
  StoredRef weight = b.node.stored("weight");
  const float* bias = static_cast<const float*>(b.node.stored("bias").data);
  Linear p{x.data,
           weight.data,
           bias,
           residual.data,
           y.data,
           0,
           y.cols,
           x.cols,
           x.stride,
           residual.stride,
           y.stride,
           weight.dtype,
           activation_of(b.node.text("activation")),
           b.node.flag_or("gated", false)};
  return make_step(b, b.kernels.linear, p,
                   [rows = x.rows](Linear& q, const StepState& s) { q.M = s.size(rows); });
}

Step bind_layer_norm(const Binding& b) {
  MatrixRef x = b.node.matrix_in("x"), residual = b.node.matrix_in("residual");
  MatrixRef sum = b.node.matrix_out("sum"), y = b.node.matrix_out("y");
  LayerNorm p{x.data,
              residual.data,
              static_cast<const float*>(b.node.stored("weight").data),
              static_cast<const float*>(b.node.stored("bias").data),
              sum.data,
              y.data,
              0,
              x.cols,
              x.stride,
              residual.stride,
              sum.stride,
              y.stride,
              static_cast<float>(b.node.number("epsilon"))};
  return make_step(b, b.kernels.layer_norm, p,
                   [rows = x.rows](LayerNorm& q, const StepState& s) { q.N = s.size(rows); });
}

Step bind_rms_norm(const Binding& b) {
  MatrixRef x = b.node.matrix_in("x"), residual = b.node.matrix_in("residual");
  MatrixRef sum = b.node.matrix_out("sum"), y = b.node.matrix_out("y");
  RmsNorm p{x.data,     residual.data, static_cast<const float*>(b.node.stored("weight").data),
            sum.data,   y.data,        0,
            x.cols,     x.stride,      residual.stride,
            sum.stride, y.stride,      static_cast<float>(b.node.number("epsilon"))};
  return make_step(b, b.kernels.rms_norm, p,
                   [rows = x.rows](RmsNorm& q, const StepState& s) { q.N = s.size(rows); });
}

Step bind_rope_table(const Binding& b) {
  MatrixRef y = b.node.matrix_out("y");
  // The program's description outlives its steps, and so does this array.
  const std::vector<double>& frequencies = b.node.numbers("frequencies");
  RopeTable p{nullptr,
              frequencies.data(),
              y.data,
              0,
              static_cast<int64_t>(frequencies.size()),
              b.node.number("magnitude")};
  return make_step(b, b.kernels.rope_table, p,
                   [positions = b.node.input_id("positions")](RopeTable& q, const StepState& s) {
                     q.positions = s.input<int32_t>(positions);
                     q.N = s.sizes[static_cast<int>(Symbol::kN)];
                   });
}

Step bind_rope(const Binding& b) {
  MatrixRef x = b.node.matrix_in("x"), table = b.node.matrix_in("table"), y = b.node.matrix_out("y");
  Rope p{x.data,
         table.data,
         y.data,
         0,
         b.node.integer("heads", 1, 4096),
         b.node.integer("headSize", 1, 4096),
         table.cols / 2,
         x.stride,
         y.stride,
         b.node.flag_or("interleaved", false)};
  return make_step(b, b.kernels.rope, p,
                   [rows = x.rows](Rope& q, const StepState& s) { q.N = s.size(rows); });
}

// The step's tables, by the value indices of their inputs.
struct TableInputs {
  explicit TableInputs(const BoundNode& node)
      : query_starts(node.input_id("queryStarts")),
        context_lengths(node.input_id("contextLengths")),
        block_tables(node.input_id("blockTables")) {}

  StepTables at(const StepState& s) const {
    return {s.input<int32_t>(query_starts),        s.input<int32_t>(context_lengths),
            s.input<int32_t>(block_tables),        s.sizes[static_cast<int>(Symbol::kN)],
            s.sizes[static_cast<int>(Symbol::kS)], s.sizes[static_cast<int>(Symbol::kW)]};
  }

  int query_starts, context_lengths, block_tables;
};

Step bind_kv_append(const Binding& b) {
  MatrixRef k = b.node.matrix_in("k"), v = b.node.matrix_in("v");
  MatrixRef table = b.node.matrix_in("table"), q = b.node.matrix_out("q");
  int64_t heads = table.data != nullptr ? b.node.integer("heads", 1, 4096) : 0;
  KvAppend p{k.data,   v.data,   b.node.cache_layer(), {},
             k.stride, v.stride, table.data,           q.data,
             q.stride, heads,    table.cols / 2,       b.node.flag_or("interleaved", false)};
  return make_step(
      b, b.kernels.kv_append, p,
      [tables = TableInputs(b.node)](KvAppend& r, const StepState& s) { r.tables = tables.at(s); });
}

Step bind_attention(const Binding& b) {
  MatrixRef q = b.node.matrix_in("q"), y = b.node.matrix_out("y");
  Attention p{q.data,
              b.node.cache_layer(),
              {},
              static_cast<const float*>(b.node.stored("slopes").data),
              y.data,
              b.node.integer("heads", 1, 4096),
              b.node.integer("headSize", 1, 256),
              q.stride,
              y.stride,
              static_cast<float>(b.node.number("scale")),
              static_cast<float>(b.node.number("softcap")),
              b.node.integer("window", 0, int64_t{1} << 31)};
  return make_step(
      b, b.kernels.attention, p,
      [tables = TableInputs(b.node)](Attention& r, const StepState& s) { r.tables = tables.at(s); });
}

Step bind_activation(const Binding& b) {
  MatrixRef x = b.node.matrix_in("x"), up = b.node.matrix_in("up"), y = b.node.matrix_out("y");
  Activate p{
      x.data, up.data, y.data, 0, x.cols, x.stride, up.stride, y.stride, activation_of(b.node.text("kind"))};
  return make_step(b, b.kernels.activation, p,
                   [rows = x.rows](Activate& q, const StepState& s) { q.N = s.size(rows); });
}

Step bind_add(const Binding& b) {
  MatrixRef a = b.node.matrix_in("a"), other = b.node.matrix_in("b"), y = b.node.matrix_out("y");
  Add p{a.data, other.data, y.data, 0, a.cols, a.stride, other.stride, y.stride};
  return make_step(b, b.kernels.add, p, [rows = a.rows](Add& q, const StepState& s) { q.N = s.size(rows); });
}

Step bind_scale(const Binding& b) {
  MatrixRef x = b.node.matrix_in("x"), y = b.node.matrix_out("y");
  Scale p{x.data, y.data, 0, x.cols, x.stride, y.stride, static_cast<float>(b.node.number("factor"))};
  return make_step(b, b.kernels.scale, p,
                   [rows = x.rows](Scale& q, const StepState& s) { q.N = s.size(rows); });
}

Step bind_softmax(const Binding& b) {
  MatrixRef x = b.node.matrix_in("x"), y = b.node.matrix_out("y");
  Softmax p{x.data, y.data, 0, x.cols, x.stride, y.stride};
  return make_step(b, b.kernels.softmax, p,
                   [rows = x.rows](Softmax& q, const StepState& s) { q.N = s.size(rows); });
}

Step bind_gather_rows(const Binding& b) {
  MatrixRef x = b.node.matrix_in("x"), y = b.node.matrix_out("y");
  GatherRows p{x.data, nullptr, y.data, 0, 0, x.cols, x.stride, y.stride};
  return make_step(b, b.kernels.gather_rows, p,
                   [rows = b.node.input_id("rows")](GatherRows& q, const StepState& s) {
                     q.rows = s.input<int32_t>(rows);
                     q.N = s.sizes[static_cast<int>(Symbol::kN)];
                     q.R = s.sizes[static_cast<int>(Symbol::kR)];
                   });
}

Step bind_sample(const Binding& b) {
  MatrixRef logits = b.node.matrix_in("logits");
  Sample p{logits.data,
           nullptr,
           nullptr,
           nullptr,
           nullptr,
           nullptr,
           nullptr,
           static_cast<int32_t*>(b.node.raw_out("ids")),
           static_cast<float*>(b.node.raw_out("logprobs")),
           0,
           logits.cols,
           logits.stride};
  struct Inputs {
    int temperature, top_k, top_p, min_p, seed, counter;
  } inputs{b.node.input_id("temperature"), b.node.input_id("topK"), b.node.input_id("topP"),
           b.node.input_id("minP"),        b.node.input_id("seed"), b.node.input_id("counter")};
  return make_step(b, b.kernels.sample, p, [inputs](Sample& q, const StepState& s) {
    q.temperature = s.input<float>(inputs.temperature);
    q.top_k = s.input<int32_t>(inputs.top_k);
    q.top_p = s.input<float>(inputs.top_p);
    q.min_p = s.input<float>(inputs.min_p);
    q.seed = s.input<int32_t>(inputs.seed);
    q.counter = s.input<int32_t>(inputs.counter);
    q.R = s.sizes[static_cast<int>(Symbol::kR)];
  });
}

struct OpRow {
  const char* op;
  Step (*bind)(const Binding&);
};

const OpRow kOps[] = {
    {"activation", bind_activation},
    {"add", bind_add},
    {"attention", bind_attention},
    {"embedding", bind_embedding},
    {"gather-rows", bind_gather_rows},
    {"kv-append", bind_kv_append},
    {"layer-norm", bind_layer_norm},
    {"linear", bind_linear},
    {"rms-norm", bind_rms_norm},
    {"rope", bind_rope},
    {"rope-table", bind_rope_table},
    {"sample", bind_sample},
    {"scale", bind_scale},
    {"softmax", bind_softmax},
};

int64_t largest_rows(const BoundNode& node, const Dim& rows) {
  return rows.symbol == Symbol::kR ? node.limits().max_rows : node.limits().max_tokens;
}

}  // namespace

std::vector<std::string> runnable_isas() {
  std::vector<std::string> names;
  platform::CpuFeatures features = platform::cpu_features();
  for (const IsaRow& row : kIsas)
    if (row.runs_here(features)) names.push_back(row.kernels->isa);
  return names;
}

CpuBackend::CpuBackend(int num_threads, const std::string& isa)
    : kernels_(choose_kernels(isa)), pool_(num_threads) {}

namespace {

template <typename F>
double seconds_of(const F& body) {
  auto start = std::chrono::steady_clock::now();
  body();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

double CpuBackend::probe_fma() {
  Execution execution{pool_, nullptr, nullptr};
  kernels_.probe_fma(execution, 1 << 16);
  int64_t operations = 0;
  double seconds = seconds_of([&] { operations = kernels_.probe_fma(execution, 1 << 22); });
  return static_cast<double>(operations) / seconds;
}

double CpuBackend::probe_read(int64_t bytes) {
  bytes = std::max<int64_t>(bytes >> 20, 1) << 20;
  // Every page is about to be touched.
  if (static_cast<uint64_t>(bytes) > platform::available_memory())
    throw Error(ErrorKind::kOutOfMemory, "probeRead: " + std::to_string(bytes) + " bytes are not available");
  std::byte* memory = allocate(bytes);
  std::memset(memory, 1, static_cast<size_t>(bytes));
  Execution execution{pool_, nullptr, nullptr};
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

int64_t CpuBackend::scratch_bytes(const BoundNode& node) const {
  const std::string& op = node.node().op;
  if (op == "linear") {
    MatrixRef x = node.matrix_in("x");
    return linear_scratch_bytes(largest_rows(node, x.rows), x.cols);
  }
  if (op == "attention") return kAttentionScratchBytesPerThread * pool_.num_threads();
  if (op == "sample")
    return sample_scratch_bytes_per_thread(node.matrix_in("logits").cols) * pool_.num_threads();
  return 0;
}

Step CpuBackend::bind(const BoundNode& node, std::byte* scratch) {
  for (const OpRow& row : kOps)
    if (node.node().op == row.op) return row.bind({node, kernels_, pool_, scratch});
  node.fail(ErrorKind::kInternal, "the CPU has no kernel for this op");
}

}  // namespace kvasir
