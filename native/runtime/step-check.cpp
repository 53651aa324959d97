#include "runtime/step-check.h"

#include <algorithm>
#include <limits>
#include <string>

#include "kernels/top-logits/top-logits.h"

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
                           reader.input_id("minP"), reader.input_id("counter"),
                           reader.has_input("typicalP") ? reader.input_id("typicalP") : -1,
                           reader.has_input("forced") ? reader.input_id("forced") : -1,
                           reader.input_cols("logits")});
    if (node.op == "adjust-logits")
      edits_.push_back({reader.input_id("editStarts"), reader.input_id("editIds"),
                        reader.input_id("editFactors"), reader.input_id("editOffsets"),
                        reader.input_id("maskRows"), reader.input_cols("logits")});
    if (node.op == "top-logits")
      counts_.push_back({reader.input_id("counts"), reader.integer("most", 1, kMostListed)});
  }
}

void StepCheck::run(const StepState& step) const {
  for (const Index& index : indices_) check_index(index, step);
  for (const Tables& tables : tables_) check_tables(tables, step);
  for (const Sampling& sampling : sampling_) check_sampling(sampling, step);
  for (const Edits& edits : edits_) check_edits(edits, step);
  for (const Counts& counts : counts_) check_entries(counts.input, step, 0, counts.most);
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

void StepCheck::refuse(int input, int64_t at, const std::string& expected, const std::string& found) const {
  fail(program_.values[static_cast<size_t>(input)].name, at, expected, found);
}

void StepCheck::check_entries(int input, const StepState& step, int64_t least, int64_t most) const {
  const int32_t* entries = step.input<int32_t>(input);
  const int64_t count = step.size(program_.values[static_cast<size_t>(input)].shape[0]);
  for (int64_t i = 0; i < count; i++)
    if (entries[i] < least || entries[i] > most)
      refuse(input, i, "from " + std::to_string(least) + " to " + std::to_string(most),
             std::to_string(entries[i]));
}

void StepCheck::check_sampling(const Sampling& sampling, const StepState& step) const {
  int64_t R = step.of(Symbol::kR);
  auto check_float = [&](int input, auto holds, const char* expected) {
    const float* entries = step.input<float>(input);
    for (int64_t r = 0; r < R; r++)
      if (!holds(entries[r])) refuse(input, r, expected, std::to_string(entries[r]));
  };
  auto is_share = [](float p) { return p > 0 && p <= 1; };
  check_float(
      sampling.temperature, [](float t) { return t >= 0 && t <= 1e6f; }, "from 0 to 1e6");
  check_float(sampling.top_p, is_share, "above 0 and at most 1");
  check_float(
      sampling.min_p, [](float p) { return p >= 0 && p <= 1; }, "from 0 to 1");
  constexpr int64_t kAny = std::numeric_limits<int32_t>::max();
  check_entries(sampling.top_k, step, 0, kAny);
  check_entries(sampling.counter, step, 0, kAny);
  if (sampling.typical_p >= 0) check_float(sampling.typical_p, is_share, "above 0 and at most 1");
  if (sampling.forced >= 0) check_entries(sampling.forced, step, -1, sampling.V - 1);
}

void StepCheck::check_edits(const Edits& edits, const StepState& step) const {
  const int64_t R = step.of(Symbol::kR), E = step.of(Symbol::kE), M = step.of(Symbol::kM);
  const int32_t* starts = step.input<int32_t>(edits.starts);
  if (starts[0] != 0) refuse(edits.starts, 0, "0", std::to_string(starts[0]));
  std::vector<bool> seen(E > 0 ? static_cast<size_t>(edits.V) : 0);
  for (int64_t r = 0; r < R; r++) {
    if (starts[r + 1] < starts[r] || starts[r + 1] > E)
      refuse(edits.starts, r + 1, "from " + std::to_string(starts[r]) + " to " + std::to_string(E),
             std::to_string(starts[r + 1]));
    check_row_edits(edits, step, starts[r], starts[r + 1], seen);
  }
  if (starts[R] != E) refuse(edits.starts, R, std::to_string(E), std::to_string(starts[R]));
  check_entries(edits.mask_rows, step, -1, M - 1);
}

// A token that is edited twice in a row would get either, by chance. `seen` holds nothing before and after.
void StepCheck::check_row_edits(const Edits& edits, const StepState& step, int64_t begin, int64_t end,
                                std::vector<bool>& seen) const {
  const int32_t* ids = step.input<int32_t>(edits.ids);
  const float* factors = step.input<float>(edits.factors);
  const float* offsets = step.input<float>(edits.offsets);
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  for (int64_t e = begin; e < end; e++) {
    if (ids[e] < 0 || ids[e] >= edits.V)
      refuse(edits.ids, e, "from 0 to " + std::to_string(edits.V - 1), std::to_string(ids[e]));
    if (seen[static_cast<size_t>(ids[e])])
      refuse(edits.ids, e, "a token that the row has no edit of yet", std::to_string(ids[e]));
    seen[static_cast<size_t>(ids[e])] = true;
    if (!(factors[e] > 0 && factors[e] < kInfinity))
      refuse(edits.factors, e, "above 0 and finite", std::to_string(factors[e]));
    if (!(offsets[e] < kInfinity)) refuse(edits.offsets, e, "below infinity", std::to_string(offsets[e]));
  }
  for (int64_t e = begin; e < end; e++) seen[static_cast<size_t>(ids[e])] = false;
}

}  // namespace kvasir
