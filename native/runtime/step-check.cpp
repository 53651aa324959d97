#include "runtime/step-check.h"

#include <algorithm>
#include <limits>
#include <string>

namespace kvasir {

namespace {

[[noreturn]] void fail(const std::string& table, int64_t at, const std::string& expected,
                       const std::string& found) {
  throw Error(ErrorKind::kInvalidValue,
              "step: " + table + "[" + std::to_string(at) + "] must be " + expected + ", got " + found);
}

}  // namespace

StepCheck::StepCheck(const ProgramDescription& program, const KvCache* cache)
    : program_(program), num_blocks_(cache != nullptr ? cache->num_blocks() : 0) {
  for (const NodeDescription& node : program.nodes) {
    NodeReader reader(program, node);
    if (node.op == "embedding") indices_.push_back({reader.input_id("ids"), reader.input("weight").shape[0]});
    if (node.op == "gather-rows") indices_.push_back({reader.input_id("rows"), reader.input("x").shape[0]});
    if (node.op == "rope-table")
      indices_.push_back(
          {reader.input_id("positions"), {Symbol::kFixed, std::numeric_limits<int32_t>::max()}});
    if (node.op == "kv-append" || node.op == "attention") {
      Tables tables = {reader.input_id("queryStarts"), reader.input_id("contextLengths"),
                       reader.input_id("blockTables")};
      if (std::find(tables_.begin(), tables_.end(), tables) == tables_.end()) tables_.push_back(tables);
    }
    if (node.op == "sample")
      sampling_.push_back({reader.input_id("temperature"), reader.input_id("topK"), reader.input_id("topP"),
                           reader.input_id("minP"), reader.input_id("counter")});
  }
}

void StepCheck::run(const StepState& step) const {
  for (const Index& index : indices_) check_index(index, step);
  for (const Tables& tables : tables_) check_tables(tables, step);
  for (const Sampling& sampling : sampling_) check_sampling(sampling, step);
}

void StepCheck::check_index(const Index& index, const StepState& step) const {
  const ValueDescription& value = program_.values[static_cast<size_t>(index.input)];
  const int32_t* entries = step.input<int32_t>(index.input);
  int64_t bound = step.size(index.bound), count = step.size(value.shape[0]);
  for (int64_t i = 0; i < count; i++)
    if (entries[i] < 0 || entries[i] >= bound)
      fail(value.name, i, "from 0 to " + std::to_string(bound - 1), std::to_string(entries[i]));
}

void StepCheck::check_tables(const Tables& tables, const StepState& step) const {
  const int32_t* starts = step.input<int32_t>(tables.query_starts);
  const int32_t* lengths = step.input<int32_t>(tables.context_lengths);
  const int32_t* blocks = step.input<int32_t>(tables.block_tables);
  int64_t N = step.sizes[static_cast<int>(Symbol::kN)], S = step.sizes[static_cast<int>(Symbol::kS)];
  int64_t W = step.sizes[static_cast<int>(Symbol::kW)];
  if (starts[0] != 0) fail("queryStarts", 0, "0", std::to_string(starts[0]));
  for (int64_t s = 0; s < S; s++) {
    if (starts[s + 1] <= starts[s] || starts[s + 1] > N)
      fail("queryStarts", s + 1, "from " + std::to_string(starts[s] + 1) + " to " + std::to_string(N),
           std::to_string(starts[s + 1]));
    int64_t queries = starts[s + 1] - starts[s];
    if (lengths[s] < queries || lengths[s] > W * kBlockTokens)
      fail("contextLengths", s, "from " + std::to_string(queries) + " to " + std::to_string(W * kBlockTokens),
           std::to_string(lengths[s]));
    int64_t used = (lengths[s] + kBlockTokens - 1) / kBlockTokens;
    for (int64_t i = 0; i < used; i++)
      if (blocks[s * W + i] < 0 || blocks[s * W + i] >= num_blocks_)
        fail("blockTables", s * W + i, "from 0 to " + std::to_string(num_blocks_ - 1),
             std::to_string(blocks[s * W + i]));
  }
  if (starts[S] != N) fail("queryStarts", S, std::to_string(N), std::to_string(starts[S]));
}

void StepCheck::check_sampling(const Sampling& sampling, const StepState& step) const {
  int64_t R = step.sizes[static_cast<int>(Symbol::kR)];
  auto check_float = [&](int input, auto holds, const char* expected) {
    const float* entries = step.input<float>(input);
    for (int64_t r = 0; r < R; r++)
      if (!holds(entries[r]))
        fail(program_.values[static_cast<size_t>(input)].name, r, expected, std::to_string(entries[r]));
  };
  auto check_count = [&](int input) {
    const int32_t* entries = step.input<int32_t>(input);
    for (int64_t r = 0; r < R; r++)
      if (entries[r] < 0)
        fail(program_.values[static_cast<size_t>(input)].name, r, "0 or more", std::to_string(entries[r]));
  };
  check_float(
      sampling.temperature, [](float t) { return t >= 0 && t <= 1e6f; }, "from 0 to 1e6");
  check_float(
      sampling.top_p, [](float p) { return p > 0 && p <= 1; }, "above 0 and at most 1");
  check_float(
      sampling.min_p, [](float p) { return p >= 0 && p <= 1; }, "from 0 to 1");
  check_count(sampling.top_k);
  check_count(sampling.counter);
}

}  // namespace kvasir
