#include "runtime/memory-plan.h"

#include <algorithm>
#include <string>

#include "types/error.h"

namespace kvasir {

namespace {

constexpr int64_t kAlignment = 64;
constexpr int64_t kMaxArena = int64_t{1} << 40;

struct Root {
  int value;
  int first, last;  // nodes between which it is alive
  int64_t bytes;
};

int64_t round_up(int64_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

bool is_view(const NodeDescription& node, const std::string& output) {
  return node.op == "slice" || (node.op == "kv-append" && output == "q");
}

const std::string& viewed_input(const NodeDescription& node) {
  static const std::string kX = "x", kQ = "q";
  return node.op == "slice" ? kX : kQ;
}

int64_t largest_bytes(const ValueDescription& value, const StepLimits& limits) {
  int64_t bytes = size_of(value.dtype);
  for (const Dim& dim : value.shape) {
    if (__builtin_mul_overflow(bytes, largest(dim, limits), &bytes) || bytes > kMaxArena)
      throw Error(ErrorKind::kOutOfMemory,
                  "program: " + value.name + " " + to_string(value.shape) + " is larger than 1 TiB");
  }
  return bytes;
}

// Fills root, stride and, for views, the offset from the root's start.
void find_roots(const ProgramDescription& program, std::vector<Placement>& values) {
  for (const NodeDescription& node : program.nodes) {
    for (const auto& [name, id] : node.outputs) {
      Placement& place = values[static_cast<size_t>(id)];
      const ValueDescription& value = program.values[static_cast<size_t>(id)];
      if (!is_view(node, name)) {
        place = {0, value.shape.size() > 1 ? value.shape[1].size : 1, id};
        continue;
      }
      const Placement& of = values[static_cast<size_t>(node.inputs.at(viewed_input(node)))];
      place = of;
      if (node.op == "slice")
        place.offset +=
            static_cast<int64_t>(std::get<double>(node.attributes.at("start"))) * size_of(value.dtype);
    }
  }
}

// What the node's own input is made of by the node before it, if that is a norm: a backend may compute both in one
// kernel, which writes while it still reads. -1 for nothing.
int input_of_norm_before(const ProgramDescription& program, size_t node) {
  if (node == 0 || program.nodes[node].op != "linear") return -1;
  const NodeDescription& before = program.nodes[node - 1];
  const bool norm = before.op == "rms-norm" || before.op == "layer-norm";
  return norm && before.outputs.at("y") == program.nodes[node].inputs.at("x") ? before.inputs.at("x") : -1;
}

std::vector<Root> lifetimes(const ProgramDescription& program, const StepLimits& limits,
                            const std::vector<Placement>& values) {
  std::vector<Root> roots;
  std::vector<int> index(values.size(), -1);
  int end = static_cast<int>(program.nodes.size());
  auto use = [&](int value, int node) {
    int root = values[static_cast<size_t>(value)].root;
    if (root < 0) return;
    int& at = index[static_cast<size_t>(root)];
    if (at < 0) {
      at = static_cast<int>(roots.size());
      roots.push_back({root, node, node, largest_bytes(program.values[static_cast<size_t>(root)], limits)});
    }
    roots[static_cast<size_t>(at)].last = node;
  };
  for (int i = 0; i < end; i++) {
    for (const auto& [name, id] : program.nodes[static_cast<size_t>(i)].inputs) use(id, i);
    for (const auto& [name, id] : program.nodes[static_cast<size_t>(i)].outputs) use(id, i);
    if (const int id = input_of_norm_before(program, static_cast<size_t>(i)); id >= 0) use(id, i);
  }
  for (const auto& [name, id] : program.outputs) use(id, end);
  return roots;
}

// Largest first, each at the lowest place that is free for as long as it lives.
void place_shared(std::vector<Root>& roots, MemoryPlan& plan) {
  std::sort(roots.begin(), roots.end(), [](const Root& a, const Root& b) {
    return a.bytes != b.bytes ? a.bytes > b.bytes : a.value < b.value;
  });
  std::vector<const Root*> placed;  // by offset
  for (const Root& root : roots) {
    int64_t offset = 0, bytes = round_up(root.bytes);
    for (const Root* other : placed) {
      int64_t begin = plan.values[static_cast<size_t>(other->value)].offset;
      if (other->last < root.first || root.last < other->first) continue;
      if (offset + bytes <= begin) break;
      offset = std::max(offset, begin + round_up(other->bytes));
    }
    plan.values[static_cast<size_t>(root.value)].offset = offset;
    plan.arena_bytes = std::max(plan.arena_bytes, offset + bytes);
    auto after = [&](const Root* other) {
      return plan.values[static_cast<size_t>(other->value)].offset > offset;
    };
    placed.insert(std::find_if(placed.begin(), placed.end(), after), &root);
  }
}

void place_apart(const std::vector<Root>& roots, MemoryPlan& plan) {
  int64_t offset = kGuardBytes;
  for (const Root& root : roots) {
    plan.values[static_cast<size_t>(root.value)].offset = offset;
    offset += round_up(root.bytes) + kGuardBytes;
  }
  plan.arena_bytes = offset;
}

}  // namespace

int64_t largest(const Dim& dim, const StepLimits& limits) {
  switch (dim.symbol) {
    case Symbol::kFixed:
      return dim.size;
    case Symbol::kN:
      return limits.max_tokens;
    case Symbol::kR:
      return limits.max_rows;
    case Symbol::kR1:
      return limits.max_rows + 1;
    case Symbol::kS:
      return limits.max_sequences;
    case Symbol::kS1:
      return limits.max_sequences + 1;
    case Symbol::kW:
      return limits.max_blocks;
    case Symbol::kE:
      return limits.max_edits;
    case Symbol::kM:
      return limits.max_masks;
  }
  return 0;
}

MemoryPlan plan_memory(const ProgramDescription& program, const StepLimits& limits, bool checked) {
  MemoryPlan plan;
  plan.values.resize(program.values.size());
  plan.bytes.resize(program.values.size());
  find_roots(program, plan.values);
  std::vector<int64_t> view_offsets(program.values.size());
  for (size_t i = 0; i < plan.values.size(); i++)
    view_offsets[i] = std::max<int64_t>(plan.values[i].offset, 0);

  std::vector<Root> roots = lifetimes(program, limits, plan.values);
  for (const Root& root : roots) plan.bytes[static_cast<size_t>(root.value)] = root.bytes;
  if (checked) {
    place_apart(roots, plan);
  } else {
    place_shared(roots, plan);
  }
  if (plan.arena_bytes > kMaxArena) throw Error(ErrorKind::kOutOfMemory, "program: needs more than 1 TiB");
  for (size_t i = 0; i < plan.values.size(); i++) {
    Placement& place = plan.values[i];
    if (place.root >= 0 && place.root != static_cast<int>(i))
      place.offset = plan.values[static_cast<size_t>(place.root)].offset + view_offsets[i];
  }
  return plan;
}

}  // namespace kvasir
