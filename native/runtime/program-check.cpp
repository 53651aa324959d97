#include "runtime/program-check.h"

#include <utility>

#include "runtime/node-check.h"
#include "runtime/node-reader.h"

namespace kvasir {

namespace {

void check_value(const ValueDescription& value) {
  auto fail = [&](const std::string& problem) {
    throw Error(ErrorKind::kShape,
                "value " + value.name + ": " + problem + ", got " + to_string(value.shape));
  };
  if (value.shape.empty() || value.shape.size() > 2) fail("must have one or two dimensions");
  bool stored = value.kind == ValueKind::kWeight || value.kind == ValueKind::kConstant;
  int64_t elements = 1;
  for (const Dim& dim : value.shape) {
    if (dim.symbol != Symbol::kFixed) {
      if (stored) fail("a weight's dimensions must be numbers");
      continue;
    }
    if (dim.size < 1 || dim.size > kMaxDim || __builtin_mul_overflow(elements, dim.size, &elements))
      fail("dimensions must be positive and their product below 2^63");
  }
  if (value.kind == ValueKind::kResult && value.shape[0].symbol != Symbol::kN &&
      value.shape[0].symbol != Symbol::kR)
    fail("a result's first dimension must be N or R");
  if (value.kind == ValueKind::kConstant && static_cast<int64_t>(value.data.size()) != elements)
    fail("a constant must hold as many elements as its shape, has " + std::to_string(value.data.size()));
}

// Every value exists, is made once, and before it is used.
void check_order(const ProgramDescription& program) {
  std::vector<bool> ready(program.values.size());
  for (size_t i = 0; i < ready.size(); i++) ready[i] = program.values[i].kind != ValueKind::kResult;
  auto in_range = [&](int id) { return id >= 0 && static_cast<size_t>(id) < ready.size(); };
  for (const NodeDescription& node : program.nodes) {
    NodeReader reader(program, node);
    for (const auto& [name, id] : node.inputs) {
      if (!in_range(id)) reader.fail(ErrorKind::kInvalidValue, "input " + name + " is no value");
      if (!ready[static_cast<size_t>(id)])
        reader.fail(ErrorKind::kInvalidValue, "input " + name + " is used before it is made");
    }
    for (const auto& [name, id] : node.outputs) {
      if (!in_range(id)) reader.fail(ErrorKind::kInvalidValue, "output " + name + " is no value");
      if (ready[static_cast<size_t>(id)])
        reader.fail(ErrorKind::kInvalidValue, "output " + name + " is made twice or is no result");
      ready[static_cast<size_t>(id)] = true;
    }
  }
  for (const auto& [name, id] : program.outputs) {
    if (!in_range(id) || !ready[static_cast<size_t>(id)] ||
        program.values[static_cast<size_t>(id)].kind != ValueKind::kResult)
      throw Error(ErrorKind::kInvalidValue, "program: output " + name + " is not computed");
  }
}

// Columns [start, start + size) of a root value.
struct Columns {
  int root;
  int64_t start, size;

  bool overlaps(const Columns& other) const {
    return root == other.root && start < other.start + other.size && other.start < start + size;
  }
};

// kv-append rotates its queries in place: nothing may read the unrotated ones afterwards.
void check_in_place(const ProgramDescription& program) {
  std::vector<Columns> columns(program.values.size());
  for (size_t i = 0; i < columns.size(); i++) {
    const std::vector<Dim>& shape = program.values[i].shape;
    columns[i] = {static_cast<int>(i), 0, shape.size() > 1 ? shape[1].size : 1};
  }
  auto at = [&](int id) -> Columns& { return columns[static_cast<size_t>(id)]; };
  std::vector<std::pair<int, Columns>> overwritten;  // the value that now lives there, and where
  for (const NodeDescription& node : program.nodes) {
    NodeReader reader(program, node);
    for (const auto& [name, id] : node.inputs) {
      if (node.op == "slice") continue;  // reads nothing itself
      for (const auto& [owner, place] : overwritten)
        if (id != owner && at(id).overlaps(place))
          reader.fail(ErrorKind::kInvalidValue, name + " was overwritten by a kv-append");
    }
    if (node.op == "slice") {
      const Columns& x = at(node.inputs.at("x"));
      at(node.outputs.at("y")) = {x.root, x.start + reader.integer("start", 0, kMaxDim),
                                  reader.integer("size", 1, kMaxDim)};
    }
    if (node.op == "kv-append" && reader.has_output("q")) {
      const Columns q = at(reader.input_id("q"));
      for (const char* other : {"k", "v", "table"})
        if (at(reader.input_id(other)).overlaps(q))
          reader.fail(ErrorKind::kInvalidValue, std::string("q overlaps ") + other);
      at(reader.output_id("q")) = q;
      overwritten.emplace_back(reader.output_id("q"), q);
    }
  }
  for (const auto& [name, id] : program.outputs)
    for (const auto& [owner, place] : overwritten)
      if (id != owner && at(id).overlaps(place))
        throw Error(ErrorKind::kInvalidValue, "program: output " + name + " is overwritten by a kv-append");
}

}  // namespace

const char* name_of(Symbol symbol) {
  static const char* const kNames[kNumSymbols] = {"", "N", "R", "R+1", "S", "S+1", "W", "E", "M"};
  return kNames[static_cast<int>(symbol)];
}

std::string to_string(const Dim& dim) {
  return dim.symbol == Symbol::kFixed ? std::to_string(dim.size) : name_of(dim.symbol);
}

std::string to_string(const std::vector<Dim>& shape) {
  std::string text = "(";
  for (size_t i = 0; i < shape.size(); i++) text += (i > 0 ? ", " : "") + to_string(shape[i]);
  return text + ")";
}

void check_program(const ProgramDescription& program, const KvCache* cache, const DeviceRules& rules) {
  for (const ValueDescription& value : program.values) check_value(value);
  check_order(program);
  for (const NodeDescription& node : program.nodes) check_node(program, node, cache, rules);
  check_in_place(program);
}

}  // namespace kvasir
