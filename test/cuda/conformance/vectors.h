#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "runtime/kv-cache.h"
#include "runtime/program-description.h"

// The cases that scripts/write-vectors.mjs writes; vector-file.ts has the same records in the same order.

namespace kvasir::conformance {

// f32 or i32, 4 bytes each.
struct Numbers {
  DType dtype = DType::kF32;
  std::vector<uint32_t> bits;

  int64_t count() const { return static_cast<int64_t>(bits.size()); }
  const float* floats() const { return reinterpret_cast<const float*>(bits.data()); }
};

struct StoredWeight {
  std::string name;
  DType dtype;
  Layout layout;
  int64_t rows, cols;
  Numbers numbers;  // (rows, cols)
};

enum class Relation : uint8_t { kNear, kExact, kEqual };

// What rows `first` and following of an output must be: near or exactly a table's rows, or those of another step.
struct Expectation {
  std::string output;
  int64_t first, count;
  Relation relation;
  int64_t source;             // a table, or a step counted through the case
  std::string source_output;  // of that step
  int64_t source_first;
  double nmse, worst;  // where near: bounds of the mean square error over the mean square, and of any error
};

// A table of the step; or the output of a step before it, where step is not negative.
struct StepInput {
  Numbers numbers;
  int64_t step = -1;
  std::string output;
};

struct Step {
  int64_t ahead;  // 0: one step
  std::map<std::string, StepInput> inputs;
  std::vector<Expectation> expectations;
};

// Steps that share a program and a cache.
struct Session {
  int64_t num_blocks;
  StepLimits limits;
  bool checked;
  std::vector<Step> steps;
};

struct Case {
  std::string name;
  bool small;
  ProgramDescription program;
  std::vector<StoredWeight> weights;
  std::vector<KvLayerShape> layers;
  DType cache_dtype;
  std::vector<Numbers> tables;
  std::vector<Session> sessions;
};

// Throws Error(kFileFormat) for anything else than a whole file of this version.
std::vector<Case> read_vectors(const std::string& path);

}  // namespace kvasir::conformance
