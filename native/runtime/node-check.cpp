#include "runtime/node-check.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "kernels/top-logits/top-logits.h"
#include "runtime/backend.h"
#include "runtime/kv-cache.h"
#include "runtime/node-reader.h"

namespace kvasir {

namespace {

// One node's rules, told in terms of shapes.
class NodeCheck : public NodeReader {
 public:
  NodeCheck(const ProgramDescription& program, const NodeDescription& node, const KvCache* cache,
            const DeviceRules& rules)
      : NodeReader(program, node), cache_(cache), rules_(rules) {}

  void run();

 private:
  using Shape = std::vector<Dim>;

  void expect_shape(const std::string& name, const ValueDescription& value, const Shape& expected) const {
    if (value.shape != expected)
      fail(ErrorKind::kShape, name + " must be " + to_string(expected) + ", got " + to_string(value.shape));
  }

  bool is_activation(DType dtype) const {
    return std::find(rules_.activations.begin(), rules_.activations.end(), dtype) != rules_.activations.end();
  }

  // A computed matrix of floats: (rows, cols), rows being a free dimension or fixed.
  Shape matrix(const std::string& name) const {
    const ValueDescription& x = input(name);
    if (x.kind != ValueKind::kResult)
      fail(ErrorKind::kInvalidValue, name + " must be computed by the program");
    if (!is_activation(x.dtype))
      fail(ErrorKind::kDType,
           name + " must be of a type that the device computes in, got " + name_of(x.dtype));
    if (x.shape.size() != 2 || x.shape[1].symbol != Symbol::kFixed)
      fail(ErrorKind::kShape, name + " must be a matrix, got " + to_string(x.shape));
    return x.shape;
  }

  // (R,V)
  Shape logits_matrix() const {
    const Shape logits = matrix("logits");
    expect_shape("logits", input("logits"), {{Symbol::kR}, logits[1]});
    return logits;
  }

  void matrix_like(const std::string& name, const Shape& expected, DType dtype) const {
    if (!has_input(name)) return;
    matrix(name);
    expect_shape(name, input(name), expected);
    expect_dtype(name, input(name), dtype);
  }

  void result(const std::string& name, const Shape& expected, DType dtype) const {
    expect_dtype(name, output(name), dtype);
    expect_shape(name, output(name), expected);
  }

  void expect_dtype(const std::string& name, const ValueDescription& value, DType dtype) const {
    if (value.dtype != dtype)
      fail(ErrorKind::kDType, name + " must be " + name_of(dtype) + ", got " + name_of(value.dtype));
  }

  // Matrix instructions take operands of one type, which blocks become; f32 activations go with weights of any type.
  void weight_of(const std::string& name, DType activations) const {
    if (activations != DType::kF32 && !is_blocked(input(name).dtype))
      expect_dtype(name, input(name), activations);
  }

  // A weight or constant of f32 numbers, (size,).
  void vector(const std::string& name, int64_t size) const {
    if (!has_input(name)) return;
    const ValueDescription& x = input(name);
    stored(name, x);
    if (x.dtype != DType::kF32) fail(ErrorKind::kDType, name + " must be f32, got " + name_of(x.dtype));
    expect_shape(name, x, {{Symbol::kFixed, size}});
  }

  void stored(const std::string& name, const ValueDescription& x) const {
    if (x.kind != ValueKind::kWeight && x.kind != ValueKind::kConstant)
      fail(ErrorKind::kInvalidValue, name + " must be a weight or constant");
  }

  // A stored matrix (rows, cols) of any float type.
  std::pair<int64_t, int64_t> stored_matrix(const std::string& name) const {
    const ValueDescription& x = input(name);
    stored(name, x);
    if (x.dtype == DType::kI32) fail(ErrorKind::kDType, name + " must be f32, f16, bf16, q8 or q4, got i32");
    if (x.shape.size() != 2) fail(ErrorKind::kShape, name + " must be a matrix, got " + to_string(x.shape));
    return {x.shape[0].size, x.shape[1].size};
  }

  void step_input(const std::string& name, const Shape& expected, DType dtype) const {
    const ValueDescription& x = input(name);
    if (x.kind != ValueKind::kInput) fail(ErrorKind::kInvalidValue, name + " must be a step input");
    if (x.dtype != dtype)
      fail(ErrorKind::kDType, name + " must be " + name_of(dtype) + ", got " + name_of(x.dtype));
    expect_shape(name, x, expected);
  }

  void tables() const {
    step_input("queryStarts", {{Symbol::kS1}}, DType::kI32);
    step_input("contextLengths", {{Symbol::kS}}, DType::kI32);
    step_input("blockTables", {{Symbol::kS}, {Symbol::kW}}, DType::kI32);
  }

  const KvCacheLayer& cache_layer(int64_t kv_heads, int64_t head_size) const {
    if (cache_ == nullptr) fail(ErrorKind::kInvalidValue, "the program was given no cache");
    if (cache_->num_layers() == 0) fail(ErrorKind::kInvalidValue, "the cache has no layers");
    const KvCacheLayer& layer = cache_->layer(integer("layer", 0, cache_->num_layers() - 1));
    if (layer.KH != kv_heads || layer.D != head_size)
      fail(ErrorKind::kShape, "the cache's layer has " + std::to_string(layer.KH) + " heads of " +
                                  std::to_string(layer.D) + ", the node " + std::to_string(kv_heads) +
                                  " of " + std::to_string(head_size));
    if (layer.key_layout != rules_.key_layout)
      fail(ErrorKind::kInvalidValue, "the cache was made for another device");
    return layer;
  }

  void finite(const std::string& name) const {
    if (!std::isfinite(number(name))) fail(ErrorKind::kInvalidValue, "attribute " + name + " must be finite");
  }

  void activation_name(const std::string& kind, bool none) const {
    static const std::set<std::string> kKnown = {"relu", "gelu", "gelu-tanh", "silu"};
    if (kKnown.count(kind) == 0 && !(none && kind == "none"))
      fail(ErrorKind::kInvalidValue, "unknown activation " + kind);
  }

  void rope_table(const std::string& name, const Dim& rows, int64_t head_size) const {
    Shape table = matrix(name);
    if (table[0] != rows || table[1].size < 2 || table[1].size % 2 != 0 || table[1].size > head_size)
      fail(ErrorKind::kShape, name + " must be (" + to_string(rows) + ", 2P) with 2P at most " +
                                  std::to_string(head_size) + ", got " + to_string(table));
    expect_dtype(name, input(name), DType::kF32);
    if (placement_is_view(name)) fail(ErrorKind::kInvalidValue, name + " must not be a slice");
  }

  bool placement_is_view(const std::string& name) const {
    int id = input_id(name);
    for (const NodeDescription& other : program().nodes) {
      if (other.op != "slice" && other.op != "kv-append") continue;
      for (const auto& [output, made] : other.outputs)
        if (made == id) return true;
    }
    return false;
  }

  // An output that no rule knows would have a place of unchecked size.
  void known_outputs() const {
    static const std::map<std::string, std::set<std::string>> kOutputs = {
        {"kv-append", {"q"}},
        {"layer-norm", {"y", "sum"}},
        {"rms-norm", {"y", "sum"}},
        {"sample", {"ids", "logprobs"}},
        {"adjust-logits", {"adjusted"}},
        {"top-logits", {"topIds", "topLogprobs"}}};
    static const std::set<std::string> kResult = {"y"};
    auto known = kOutputs.find(node().op);
    for (const auto& [name, id] : node().outputs)
      if ((known == kOutputs.end() ? kResult : known->second).count(name) == 0)
        fail(ErrorKind::kInvalidValue, "unknown output " + name);
  }

  void embedding();
  void linear();
  void norm(bool with_bias);
  void rope_table_node();
  void rope();
  void slice();
  void activation();
  void elementwise(bool two);
  void gather_rows();
  void kv_append();
  void attention();
  void adjust_logits();
  void sample();
  void top_logits();

  void cached_as(const KvCacheLayer& layer, DType dtype) const {
    if (rules_.cache_as_activations && layer.dtype != dtype && !layer.has_scales())
      fail(ErrorKind::kDType,
           std::string("the cache must hold ") + name_of(dtype) + ", holds " + name_of(layer.dtype));
  }

  const KvCache* cache_;
  const DeviceRules& rules_;
};

void NodeCheck::embedding() {
  step_input("ids", {{Symbol::kN}}, DType::kI32);
  auto [V, C] = stored_matrix("weight");
  if (input("weight").interleaved) fail(ErrorKind::kInvalidValue, "weight must not be interleaved");
  const ValueDescription& weight = input("weight");
  if (weight.layout != Layout::kRows && weight.layout != rules_.matrix_layout)
    fail(ErrorKind::kInvalidValue, "weight must lie in rows or as the device's matrices");
  const DType dtype = output("y").dtype;
  if (!is_activation(dtype)) fail(ErrorKind::kDType, "y must be of a type that the device computes in");
  if (weight.dtype != DType::kF32) weight_of("weight", dtype);
  result("y", {{Symbol::kN}, {Symbol::kFixed, C}}, dtype);
}

void NodeCheck::linear() {
  Shape x = matrix("x");
  auto [O, K] = stored_matrix("weight");
  const ValueDescription& weight = input("weight");
  bool gated = flag_or("gated", false);
  if (weight.layout != rules_.matrix_layout)
    fail(ErrorKind::kInvalidValue, "weight must lie as the device's matrices");
  if (weight.kind != ValueKind::kWeight) fail(ErrorKind::kInvalidValue, "weight must be a weight");
  if (weight.interleaved != gated)
    fail(ErrorKind::kInvalidValue, "a gated linear wants an interleaved weight");
  if (x[1].size != K)
    fail(ErrorKind::kShape,
         "x must be (" + to_string(x[0]) + ", " + std::to_string(K) + "), got " + to_string(x));
  if (gated && O % 2 != 0) fail(ErrorKind::kShape, "a gated weight must have an even number of rows");
  Shape y = {x[0], {Symbol::kFixed, gated ? O / 2 : O}};
  if (flag_or("roundsOperand", false) &&
      (weight.dtype != DType::kBF16 || rules_.matrix_layout != Layout::kPanels))
    fail(ErrorKind::kInvalidValue, "roundsOperand wants a weight in bf16, in panels");
  vector("bias", O);
  const DType dtype = input("x").dtype, y_dtype = output("y").dtype;
  weight_of("weight", dtype);
  if (y_dtype != DType::kF32) expect_dtype("y", output("y"), dtype);
  matrix_like("residual", y, y_dtype);
  result("y", y, y_dtype);
  activation_name(text("activation"), true);
}

void NodeCheck::norm(bool with_bias) {
  Shape x = matrix("x");
  const DType dtype = input("x").dtype;
  matrix_like("residual", x, dtype);
  vector("weight", x[1].size);
  if (with_bias) vector("bias", x[1].size);
  result("y", x, dtype);
  if (has_output("sum")) {
    if (!has_input("residual")) fail(ErrorKind::kInvalidValue, "a sum without a residual");
    result("sum", x, dtype);
  }
  finite("epsilon");
  if (number("epsilon") < 0) fail(ErrorKind::kInvalidValue, "attribute epsilon must not be negative");
}

void NodeCheck::rope_table_node() {
  step_input("positions", {{Symbol::kN}}, DType::kI32);
  const std::vector<double>& frequencies = numbers("frequencies");
  if (frequencies.empty() || frequencies.size() > 128)
    fail(ErrorKind::kInvalidValue, "attribute frequencies must have 1 to 128 entries");
  for (double f : frequencies)
    if (!std::isfinite(f)) fail(ErrorKind::kInvalidValue, "attribute frequencies must be finite");
  finite("magnitude");
  result("y", {{Symbol::kN}, {Symbol::kFixed, 2 * static_cast<int64_t>(frequencies.size())}}, DType::kF32);
}

void NodeCheck::rope() {
  Shape x = matrix("x");
  int64_t heads = integer("heads", 1, 4096), head_size = integer("headSize", 1, 4096);
  expect_shape("x", input("x"), {x[0], {Symbol::kFixed, heads * head_size}});
  rope_table("table", x[0], head_size);
  result("y", x, input("x").dtype);
}

void NodeCheck::slice() {
  Shape x = matrix("x");
  int64_t start = integer("start", 0, x[1].size - 1);
  int64_t size = integer("size", 1, x[1].size - start);
  result("y", {x[0], {Symbol::kFixed, size}}, input("x").dtype);
}

void NodeCheck::activation() {
  Shape x = matrix("x");
  matrix_like("up", x, input("x").dtype);
  activation_name(text("kind"), false);
  result("y", x, input("x").dtype);
}

void NodeCheck::elementwise(bool two) {
  const std::string first = two ? "a" : "x";
  Shape x = matrix(first);
  if (two) {
    matrix("b");
    matrix_like("b", x, input(first).dtype);
  }
  result("y", x, input(first).dtype);
}

void NodeCheck::gather_rows() {
  Shape x = matrix("x");
  expect_shape("x", input("x"), {{Symbol::kN}, x[1]});
  step_input("rows", {{Symbol::kR}}, DType::kI32);
  result("y", {{Symbol::kR}, x[1]}, input("x").dtype);
}

void NodeCheck::kv_append() {
  int64_t kv_heads = integer("kvHeads", 1, 4096), head_size = integer("headSize", 1, 256);
  const KvCacheLayer& layer = cache_layer(kv_heads, head_size);
  tables();
  Shape k = {{Symbol::kN}, {Symbol::kFixed, kv_heads * head_size}};
  matrix("k");
  matrix("v");
  const DType dtype = input("k").dtype;
  matrix_like("k", k, dtype);
  matrix_like("v", k, dtype);
  cached_as(layer, dtype);
  if (has_input("table") != has_input("q") || has_input("q") != has_output("q"))
    fail(ErrorKind::kInvalidValue, "table, q and the output q must come together");
  if (!has_input("table")) return;
  rope_table("table", {Symbol::kN}, head_size);
  int64_t heads = integer("heads", 1, 4096);
  matrix("q");
  Shape q = {{Symbol::kN}, {Symbol::kFixed, heads * head_size}};
  matrix_like("q", q, dtype);
  result("q", q, dtype);
}

void NodeCheck::attention() {
  int64_t heads = integer("heads", 1, 4096), kv_heads = integer("kvHeads", 1, 4096);
  int64_t head_size = integer("headSize", 1, 256);
  if (has_input("k") || has_input("v"))
    fail(ErrorKind::kInvalidValue, "k and v must have been lowered to kv-append");
  if (heads % kv_heads != 0) fail(ErrorKind::kShape, "kvHeads must divide heads");
  const KvCacheLayer& layer = cache_layer(kv_heads, head_size);
  tables();
  Shape q = {{Symbol::kN}, {Symbol::kFixed, heads * head_size}};
  matrix("q");
  const DType dtype = input("q").dtype;
  matrix_like("q", q, dtype);
  cached_as(layer, dtype);
  vector("slopes", heads);
  finite("scale");
  finite("softcap");
  if (number("softcap") < 0) fail(ErrorKind::kInvalidValue, "attribute softcap must not be negative");
  integer("window", 0, int64_t{1} << 31);
  result("y", q, dtype);
}

void NodeCheck::adjust_logits() {
  const Shape logits = logits_matrix();
  const int64_t words = (logits[1].size + 31) / 32;
  step_input("editStarts", {{Symbol::kR1}}, DType::kI32);
  step_input("editIds", {{Symbol::kE}}, DType::kI32);
  for (const char* name : {"editFactors", "editOffsets"}) step_input(name, {{Symbol::kE}}, DType::kF32);
  step_input("maskRows", {{Symbol::kR}}, DType::kI32);
  step_input("masks", {{Symbol::kM}, {Symbol::kFixed, words}}, DType::kI32);
  result("adjusted", logits, DType::kF32);
}

void NodeCheck::top_logits() {
  const Shape logits = logits_matrix();
  matrix("allowed");
  matrix_like("allowed", logits, DType::kF32);
  step_input("counts", {{Symbol::kR}}, DType::kI32);
  const Shape listed = {{Symbol::kR}, {Symbol::kFixed, integer("most", 1, kMostListed)}};
  result("topIds", listed, DType::kI32);
  result("topLogprobs", listed, DType::kF32);
}

void NodeCheck::sample() {
  const Shape logits = logits_matrix();
  if (has_input("adjusted") != has_input("typicalP") || has_input("typicalP") != has_input("forced"))
    fail(ErrorKind::kInvalidValue, "adjusted, typicalP and forced must come together");
  if (has_input("adjusted")) {
    matrix("adjusted");
    matrix_like("adjusted", logits, DType::kF32);
    step_input("typicalP", {{Symbol::kR}}, DType::kF32);
    step_input("forced", {{Symbol::kR}}, DType::kI32);
  }
  for (const char* name : {"temperature", "topP", "minP"}) step_input(name, {{Symbol::kR}}, DType::kF32);
  for (const char* name : {"topK", "counter"}) step_input(name, {{Symbol::kR}}, DType::kI32);
  step_input("seed", {{Symbol::kR}, {Symbol::kFixed, 2}}, DType::kI32);
  result("ids", {{Symbol::kR}}, DType::kI32);
  result("logprobs", {{Symbol::kR}}, DType::kF32);
}

void NodeCheck::run() {
  known_outputs();
  const std::string& op = node().op;
  if (op == "embedding") return embedding();
  if (op == "linear") return linear();
  if (op == "layer-norm") return norm(true);
  if (op == "rms-norm") return norm(false);
  if (op == "rope-table") return rope_table_node();
  if (op == "rope") return rope();
  if (op == "slice") return slice();
  if (op == "activation") return activation();
  if (op == "add") return elementwise(true);
  if (op == "softmax") return elementwise(false);
  if (op == "scale") {
    finite("factor");
    return elementwise(false);
  }
  if (op == "gather-rows") return gather_rows();
  if (op == "kv-append") return kv_append();
  if (op == "attention") return attention();
  if (op == "adjust-logits") return adjust_logits();
  if (op == "sample") return sample();
  if (op == "top-logits") return top_logits();
  fail(ErrorKind::kInvalidValue, "unknown op");
}

}  // namespace

void check_node(const ProgramDescription& program, const NodeDescription& node, const KvCache* cache,
                const DeviceRules& rules) {
  NodeCheck(program, node, cache, rules).run();
}

}  // namespace kvasir
