#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <variant>
#include <vector>

#include "types/dtype.h"
#include "types/panels.h"

namespace kvasir {

// A program as JavaScript hands it over (lib/graph/graph.ts has the same form): untrusted until checked.

// A dimension that is known only at each step.
enum class Symbol : uint8_t { kFixed, kN, kR, kR1, kS, kS1, kW, kE, kM };
constexpr int kNumSymbols = 9;

const char* name_of(Symbol symbol);  // "S+1"

struct Dim {
  Symbol symbol = Symbol::kFixed;
  int64_t size = 0;  // where fixed

  bool operator==(const Dim&) const = default;
};

enum class ValueKind : uint8_t { kInput, kWeight, kConstant, kResult };

struct ValueDescription {
  ValueKind kind = ValueKind::kResult;
  std::string name;
  std::vector<Dim> shape;
  DType dtype = DType::kF32;
  Layout layout = Layout::kRows;  // of a weight
  bool interleaved = false;       // of a weight: gate and up panels alternate
  int64_t stacked = 0;      // of a weight: so many matrices one below the other, each filled up; 0 for none
  std::vector<float> data;  // of a constant
};

using Attribute = std::variant<double, bool, std::string, std::vector<double>>;

struct NodeDescription {
  std::string op;
  std::string name;
  std::map<std::string, int> inputs, outputs;  // value indices
  std::map<std::string, Attribute> attributes;
};

struct ProgramDescription {
  std::vector<ValueDescription> values;
  std::vector<NodeDescription> nodes;
  std::map<std::string, int> outputs;
};

// What a step may be at most; memory is planned for it.
struct StepLimits {
  int64_t max_tokens = 0;     // N
  int64_t max_rows = 0;       // R
  int64_t max_sequences = 0;  // S
  int64_t max_blocks = 0;     // W
  int64_t max_edits = 0;      // E, may be 0
  int64_t max_masks = 0;      // M, may be 0
};

std::string to_string(const Dim& dim);
std::string to_string(const std::vector<Dim>& shape);  // "(N, 768)"

}  // namespace kvasir
