#include "backends/cuda-nodes.h"

#include <algorithm>

#include "backends/cuda-device.h"
#include "backends/node-parameters.h"
#include "runtime/memory-plan.h"

namespace kvasir::cuda {

namespace {

template <typename Params>
Launch make_launch(const Module& module, Entry<Params> kernel, Parameters<Params> parameters) {
  return [&module, kernel, parameters = std::move(parameters)](const StepState& step, Execution& execution) {
    check(module, kernel(parameters.at(step), execution));
  };
}

struct OpRow {
  const char* op;
  Launch (*bind)(const Module&, const BoundNode&);
};

// The row of an op whose kernel is `kKernel` and whose parameters `kParameters` gives.
template <auto kKernel, auto kParameters>
Launch bind(const Module& module, const BoundNode& node) {
  return make_launch(module, module.kernels.*kKernel, kParameters(node));
}

const OpRow kOps[] = {
    {"activation", bind<&Kernels::activation, activation_parameters>},
    {"add", bind<&Kernels::add, add_parameters>},
    {"adjust-logits", bind<&Kernels::adjust_logits, adjust_logits_parameters>},
    {"attention", bind<&Kernels::attention, attention_parameters>},
    {"embedding", bind<&Kernels::embedding, embedding_parameters>},
    {"experts", bind<&Kernels::experts, experts_parameters>},
    {"gather-rows", bind<&Kernels::gather_rows, gather_rows_parameters>},
    {"kv-append", bind<&Kernels::kv_append, kv_append_parameters>},
    {"layer-norm", bind<&Kernels::layer_norm, layer_norm_parameters>},
    {"linear", bind<&Kernels::linear, linear_parameters>},
    {"rms-norm", bind<&Kernels::rms_norm, rms_norm_parameters>},
    {"rope", bind<&Kernels::rope, rope_parameters>},
    {"rope-table", bind<&Kernels::rope_table, rope_table_parameters>},
    {"sample", bind<&Kernels::sample, sample_parameters>},
    {"scale", bind<&Kernels::scale, scale_parameters>},
    {"softcap", bind<&Kernels::softcap, softcap_parameters>},
    {"softmax", bind<&Kernels::softmax, softmax_parameters>},
    {"top-logits", bind<&Kernels::top_logits, top_logits_parameters>},
};

Launch bind_node(const Module& module, const BoundNode& node) {
  for (const OpRow& row : kOps)
    if (node.node().op == row.op) return row.bind(module, node);
  node.fail(ErrorKind::kInternal, "CUDA devices have no kernel for this op");
}

int64_t scratch_bytes(const NodeReader& node, const StepLimits& limits) {
  const std::string& op = node.node().op;
  if (op == "linear")
    return linear_cuda_scratch_bytes(largest(node.input("x").shape[0], limits),
                                     node.output_cols("y") * (node.flag_or("gated", false) ? 2 : 1),
                                     node.input_cols("x"), node.input("weight").dtype);
  if (op == "attention")
    return attention_cuda_scratch_bytes(limits.max_tokens, limits.max_sequences, limits.max_blocks,
                                        node.integer("heads", 1, 4096), node.integer("kvHeads", 1, 4096),
                                        node.integer("headSize", 1, 256));
  if (op == "experts")
    return experts_cuda_scratch_bytes(largest(node.input("x").shape[0], limits), node.input_cols("down"),
                                      node.integer("chosen", 1, kMaxExperts));
  if (op == "sample")
    return sample_cuda_scratch_bytes(limits.max_rows, node.input_cols("logits"), node.has_input("adjusted"));
  if (op == "top-logits") return top_logits_cuda_scratch_bytes(limits.max_rows, node.input_cols("logits"));
  return 0;
}

// How often a value is read, by nodes and as an output.
int64_t count_reads(const ProgramDescription& program, int value) {
  int64_t reads = 0;
  for (const NodeDescription& node : program.nodes)
    for (const auto& [name, id] : node.inputs) reads += id == value;
  for (const auto& [name, id] : program.outputs) reads += id == value;
  return reads;
}

struct ByteRange {
  const std::byte *begin, *end;
  bool overlaps(const ByteRange& other) const { return begin < other.end && other.begin < end; }
};

ByteRange range_of(const MatrixRef& matrix, const StepLimits& limits) {
  const std::byte* begin = static_cast<const std::byte*>(matrix.data);
  return {begin, begin + largest(matrix.rows, limits) * matrix.stride * size_of(matrix.dtype)};
}

// Whether `second` is a linear layer that could compute the norm `first` itself: while some blocks still read what
// is normalised, others write results already, so the two must not share memory.
bool can_fuse(const BoundNode& first, const BoundNode& second) {
  const bool norm = first.node().op == "rms-norm" || first.node().op == "layer-norm";
  if (!norm || second.node().op != "linear" || first.has_input("residual") || first.has_output("sum") ||
      first.number_or("heads", 1) != 1)
    return false;
  const int y = first.output_id("y");
  if (second.input_id("x") != y || count_reads(first.program(), y) != 1) return false;
  const StepLimits& limits = first.limits();
  return !range_of(first.matrix_in("x"), limits).overlaps(range_of(second.matrix_out("y"), limits));
}

template <typename Norm>
Launch fuse(const Module& module, Entry<Norm> norm_kernel, Entry<Norm, Linear> fused_kernel,
            Parameters<Norm> norm, Parameters<Linear> linear) {
  return [&module, norm_kernel, fused_kernel, norm = std::move(norm), linear = std::move(linear)](
             const StepState& step, Execution& execution) {
    const Norm n = norm.at(step);
    const Linear l = linear.at(step);
    if (l.M <= kNormLinearMaxRows) return check(module, fused_kernel(n, l, execution));
    check(module, norm_kernel(n, execution));
    check(module, module.kernels.linear(l, execution));
  };
}

Launch bind_pair(const Module& module, const BoundNode& norm, const BoundNode& linear) {
  const Kernels& k = module.kernels;
  if (norm.node().op == "rms-norm")
    return fuse(module, k.rms_norm, k.rms_norm_linear, rms_norm_parameters(norm), linear_parameters(linear));
  return fuse(module, k.layer_norm, k.layer_norm_linear, layer_norm_parameters(norm),
              linear_parameters(linear));
}

}  // namespace

int64_t scratch_bytes(const ProgramDescription& program, const StepLimits& limits) {
  int64_t most = 0;
  for (const NodeDescription& node : program.nodes)
    most = std::max(most, scratch_bytes(NodeReader(program, node), limits));
  return most;
}

std::vector<Launch> bind_launches(const Module& module,
                                  const std::vector<std::unique_ptr<BoundNode>>& nodes) {
  std::vector<Launch> launches;
  for (size_t i = 0; i < nodes.size(); i++) {
    if (i + 1 < nodes.size() && can_fuse(*nodes[i], *nodes[i + 1])) {
      launches.push_back(bind_pair(module, *nodes[i], *nodes[i + 1]));
      i++;
    } else {
      launches.push_back(bind_node(module, *nodes[i]));
    }
  }
  return launches;
}

}  // namespace kvasir::cuda
