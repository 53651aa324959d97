#include "backends/node-parameters.h"

namespace kvasir {

namespace {

Activation activation_of(const std::string& name) {
  if (name == "relu") return Activation::kRelu;
  if (name == "gelu") return Activation::kGelu;
  if (name == "gelu-tanh") return Activation::kGeluTanh;
  if (name == "silu") return Activation::kSilu;
  return Activation::kNone;
}

// The step's tables, by the value indices of their inputs.
struct TableInputs {
  explicit TableInputs(const BoundNode& node)
      : query_starts(node.input_id("queryStarts")),
        context_lengths(node.input_id("contextLengths")),
        block_tables(node.input_id("blockTables")) {}

  StepTables at(const StepState& s) const {
    return {s.input<int32_t>(query_starts),
            s.input<int32_t>(context_lengths),
            s.input<int32_t>(block_tables),
            s.of(Symbol::kN),
            s.of(Symbol::kS),
            s.of(Symbol::kW)};
  }

  int query_starts, context_lengths, block_tables;
};

}  // namespace

Parameters<Embedding> embedding_parameters(const BoundNode& node) {
  StoredRef weight = node.stored("weight");
  MatrixRef y = node.matrix_out("y");
  int64_t V = node.input("weight").shape[0].size;
  Embedding p{nullptr, weight.data, y.data, 0, V, y.cols, y.stride, weight.dtype, weight.layout, y.dtype};
  return {p, [ids = node.input_id("ids")](Embedding& q, const StepState& s) {
            q.ids = s.input<int32_t>(ids);
            q.N = s.of(Symbol::kN);
          }};
}

Parameters<Linear> linear_parameters(const BoundNode& node) {
  MatrixRef x = node.matrix_in("x"), residual = node.matrix_in("residual"), y = node.matrix_out("y");
  StoredRef weight = node.stored("weight");
  const float* bias = static_cast<const float*>(node.stored("bias").data);
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
           x.dtype,
           y.dtype,
           activation_of(node.text("activation")),
           node.flag_or("gated", false),
           node.flag_or("roundsOperand", false)};
  return {p, [rows = x.rows](Linear& q, const StepState& s) { q.M = s.size(rows); }};
}

Parameters<LayerNorm> layer_norm_parameters(const BoundNode& node) {
  MatrixRef x = node.matrix_in("x"), residual = node.matrix_in("residual");
  MatrixRef sum = node.matrix_out("sum"), y = node.matrix_out("y");
  LayerNorm p{x.data,
              residual.data,
              static_cast<const float*>(node.stored("weight").data),
              static_cast<const float*>(node.stored("bias").data),
              sum.data,
              y.data,
              0,
              x.cols,
              x.stride,
              residual.stride,
              sum.stride,
              y.stride,
              static_cast<float>(node.number("epsilon")),
              x.dtype};
  return {p, [rows = x.rows](LayerNorm& q, const StepState& s) { q.N = s.size(rows); }};
}

Parameters<RmsNorm> rms_norm_parameters(const BoundNode& node) {
  const int64_t heads = static_cast<int64_t>(node.number_or("heads", 1));
  MatrixRef x = node.matrix_in("x"), residual = node.matrix_in("residual");
  MatrixRef sum = node.matrix_out("sum"), y = node.matrix_out("y");
  RmsNorm p{x.data,
            residual.data,
            static_cast<const float*>(node.stored("weight").data),
            sum.data,
            y.data,
            0,
            heads,
            x.cols / heads,
            x.stride,
            residual.stride,
            sum.stride,
            y.stride,
            static_cast<float>(node.number("epsilon")),
            x.dtype};
  return {p, [rows = x.rows](RmsNorm& q, const StepState& s) { q.N = s.size(rows); }};
}

Parameters<RopeTable> rope_table_parameters(const BoundNode& node) {
  MatrixRef y = node.matrix_out("y");
  const int64_t P = static_cast<int64_t>(node.numbers("frequencies").size());
  RopeTable p{nullptr,
              node.stored_numbers("frequencies"),
              static_cast<float*>(y.data),
              0,
              P,
              node.number("magnitude")};
  return {p, [positions = node.input_id("positions")](RopeTable& q, const StepState& s) {
            q.positions = s.input<int32_t>(positions);
            q.N = s.of(Symbol::kN);
          }};
}

Parameters<Rope> rope_parameters(const BoundNode& node) {
  MatrixRef x = node.matrix_in("x"), table = node.matrix_in("table"), y = node.matrix_out("y");
  Rope p{x.data,
         static_cast<const float*>(table.data),
         y.data,
         0,
         node.integer("heads", 1, 4096),
         node.integer("headSize", 1, 4096),
         table.cols / 2,
         x.stride,
         y.stride,
         node.flag_or("interleaved", false),
         x.dtype};
  return {p, [rows = x.rows](Rope& q, const StepState& s) { q.N = s.size(rows); }};
}

Parameters<KvAppend> kv_append_parameters(const BoundNode& node) {
  MatrixRef k = node.matrix_in("k"), v = node.matrix_in("v");
  MatrixRef table = node.matrix_in("table"), q = node.matrix_out("q");
  int64_t heads = table.data != nullptr ? node.integer("heads", 1, 4096) : 0;
  KvAppend p{k.data,
             v.data,
             node.cache_layer(),
             {},
             k.stride,
             v.stride,
             static_cast<const float*>(table.data),
             q.data,
             q.stride,
             heads,
             table.cols / 2,
             node.flag_or("interleaved", false),
             k.dtype};
  return {p, [tables = TableInputs(node)](KvAppend& r, const StepState& s) { r.tables = tables.at(s); }};
}

Parameters<Attention> attention_parameters(const BoundNode& node) {
  MatrixRef q = node.matrix_in("q"), y = node.matrix_out("y");
  Attention p{q.data,
              node.cache_layer(),
              {},
              static_cast<const float*>(node.stored("slopes").data),
              y.data,
              node.integer("heads", 1, 4096),
              node.integer("headSize", 1, 256),
              q.stride,
              y.stride,
              static_cast<float>(node.number("scale")),
              static_cast<float>(node.number("softcap")),
              node.integer("window", 0, int64_t{1} << 31),
              q.dtype};
  return {p, [tables = TableInputs(node)](Attention& r, const StepState& s) { r.tables = tables.at(s); }};
}

Parameters<Activate> activation_parameters(const BoundNode& node) {
  MatrixRef x = node.matrix_in("x"), up = node.matrix_in("up"), y = node.matrix_out("y");
  Activate p{
      x.data, up.data, y.data, 0, x.cols, x.stride, up.stride, y.stride, activation_of(node.text("kind")),
      x.dtype};
  return {p, [rows = x.rows](Activate& q, const StepState& s) { q.N = s.size(rows); }};
}

Parameters<Add> add_parameters(const BoundNode& node) {
  MatrixRef a = node.matrix_in("a"), other = node.matrix_in("b"), y = node.matrix_out("y");
  Add p{a.data, other.data, y.data, 0, a.cols, a.stride, other.stride, y.stride, a.dtype};
  return {p, [rows = a.rows](Add& q, const StepState& s) { q.N = s.size(rows); }};
}

Parameters<Scale> scale_parameters(const BoundNode& node) {
  MatrixRef x = node.matrix_in("x"), y = node.matrix_out("y");
  Scale p{x.data, y.data, 0, x.cols, x.stride, y.stride, static_cast<float>(node.number("factor")), x.dtype};
  return {p, [rows = x.rows](Scale& q, const StepState& s) { q.N = s.size(rows); }};
}

Parameters<Softcap> softcap_parameters(const BoundNode& node) {
  MatrixRef x = node.matrix_in("x"), y = node.matrix_out("y");
  Softcap p{x.data, y.data, 0, x.cols, x.stride, y.stride, static_cast<float>(node.number("cap")), x.dtype};
  return {p, [rows = x.rows](Softcap& q, const StepState& s) { q.N = s.size(rows); }};
}

Parameters<Softmax> softmax_parameters(const BoundNode& node) {
  MatrixRef x = node.matrix_in("x"), y = node.matrix_out("y");
  Softmax p{x.data, y.data, 0, x.cols, x.stride, y.stride, x.dtype};
  return {p, [rows = x.rows](Softmax& q, const StepState& s) { q.N = s.size(rows); }};
}

Parameters<Experts> experts_parameters(const BoundNode& node) {
  MatrixRef x = node.matrix_in("x"), logits = node.matrix_in("logits"), y = node.matrix_out("y");
  StoredRef gate = node.stored("gate"), up = node.stored("up"), down = node.stored("down");
  Experts p{};
  p.x = x.data, p.logits = logits.data, p.y = y.data;
  p.gate = gate.data, p.up = up.data, p.down = down.data;
  p.C = x.cols, p.E = logits.cols, p.F = down.cols;
  p.k = node.integer("chosen", 1, kMaxExperts);
  p.x_stride = x.stride, p.logits_stride = logits.stride, p.y_stride = y.stride;
  p.gate_dtype = gate.dtype, p.up_dtype = up.dtype, p.down_dtype = down.dtype;
  p.dtype = x.dtype;
  p.activation = activation_of(node.text("activation"));
  p.normalised = node.flag_or("normalised", false);
  return {p, [rows = x.rows](Experts& q, const StepState& s) { q.N = s.size(rows); }};
}

Parameters<GatherRows> gather_rows_parameters(const BoundNode& node) {
  MatrixRef x = node.matrix_in("x"), y = node.matrix_out("y");
  GatherRows p{x.data, nullptr, y.data, 0, 0, x.cols, x.stride, y.stride, x.dtype};
  return {p, [rows = node.input_id("rows")](GatherRows& q, const StepState& s) {
            q.rows = s.input<int32_t>(rows);
            q.N = s.of(Symbol::kN);
            q.R = s.of(Symbol::kR);
          }};
}

Parameters<AdjustLogits> adjust_logits_parameters(const BoundNode& node) {
  const MatrixRef logits = node.matrix_in("logits"), adjusted = node.matrix_out("adjusted");
  AdjustLogits p{};
  p.logits = logits.data;
  p.adjusted = static_cast<float*>(adjusted.data);
  p.V = logits.cols;
  p.logits_stride = logits.stride;
  p.adjusted_stride = adjusted.stride;
  p.dtype = logits.dtype;
  struct Inputs {
    int starts, ids, factors, offsets, mask_rows, masks;
  } inputs{node.input_id("editStarts"),  node.input_id("editIds"),  node.input_id("editFactors"),
           node.input_id("editOffsets"), node.input_id("maskRows"), node.input_id("masks")};
  return {p, [inputs](AdjustLogits& q, const StepState& s) {
            q.edit_starts = s.input<int32_t>(inputs.starts);
            q.edit_ids = s.input<int32_t>(inputs.ids);
            q.edit_factors = s.input<float>(inputs.factors);
            q.edit_offsets = s.input<float>(inputs.offsets);
            q.mask_rows = s.input<int32_t>(inputs.mask_rows);
            q.masks = s.input<int32_t>(inputs.masks);
            q.R = s.of(Symbol::kR);
          }};
}

Parameters<Sample> sample_parameters(const BoundNode& node) {
  const MatrixRef logits = node.matrix_in("logits"), adjusted = node.matrix_in("adjusted");
  Sample p{};
  p.logits = logits.data;
  p.adjusted = static_cast<const float*>(adjusted.data);
  p.ids = static_cast<int32_t*>(node.raw_out("ids"));
  p.logprobs = static_cast<float*>(node.raw_out("logprobs"));
  p.V = logits.cols;
  p.logits_stride = logits.stride;
  p.adjusted_stride = adjusted.stride;
  p.dtype = logits.dtype;
  const bool controlled = adjusted.data != nullptr;
  struct Inputs {
    int temperature, top_k, top_p, min_p, seed, counter, typical_p, forced;
  } inputs{node.input_id("temperature"),
           node.input_id("topK"),
           node.input_id("topP"),
           node.input_id("minP"),
           node.input_id("seed"),
           node.input_id("counter"),
           controlled ? node.input_id("typicalP") : -1,
           controlled ? node.input_id("forced") : -1};
  return {p, [inputs](Sample& q, const StepState& s) {
            q.temperature = s.input<float>(inputs.temperature);
            q.top_k = s.input<int32_t>(inputs.top_k);
            q.top_p = s.input<float>(inputs.top_p);
            q.min_p = s.input<float>(inputs.min_p);
            q.seed = s.input<int32_t>(inputs.seed);
            q.counter = s.input<int32_t>(inputs.counter);
            q.R = s.of(Symbol::kR);
            if (q.adjusted == nullptr) return;
            q.typical_p = s.input<float>(inputs.typical_p);
            q.forced = s.input<int32_t>(inputs.forced);
          }};
}

Parameters<TopLogits> top_logits_parameters(const BoundNode& node) {
  const MatrixRef logits = node.matrix_in("logits"), allowed = node.matrix_in("allowed");
  TopLogits p{};
  p.logits = logits.data;
  p.allowed = static_cast<const float*>(allowed.data);
  p.top_ids = static_cast<int32_t*>(node.raw_out("topIds"));
  p.top_logprobs = static_cast<float*>(node.raw_out("topLogprobs"));
  p.V = logits.cols;
  p.most = node.output_cols("topIds");
  p.logits_stride = logits.stride;
  p.allowed_stride = allowed.stride;
  p.dtype = logits.dtype;
  return {p, [counts = node.input_id("counts")](TopLogits& q, const StepState& s) {
            q.counts = s.input<int32_t>(counts);
            q.R = s.of(Symbol::kR);
          }};
}

}  // namespace kvasir
