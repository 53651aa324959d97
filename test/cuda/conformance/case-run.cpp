#include "case-run.h"

#include <algorithm>
#include <cstdio>
#include <map>

#include "checkpoint/store.h"
#include "compare.h"
#include "runtime/program.h"

namespace kvasir::conformance {

namespace {

constexpr size_t kMaxFailures = 3;

using Outputs = std::map<std::string, Numbers>;

class CaseRun {
 public:
  CaseRun(const Case& one, std::shared_ptr<Backend> backend)
      : case_(one),
        backend_(std::move(backend)),
        store_(std::make_shared<WeightStore>(backend_->weight_memory())) {
    for (const StoredWeight& weight : case_.weights) {
      store_->declare(weight.name, weight.dtype, weight.layout, weight.rows, weight.cols);
      store_->load_values(weight.name, weight.numbers.floats(), weight.numbers.count());
    }
    store_->check_complete();
  }

  void run(CaseResult& result) {
    for (const Session& session : case_.sessions) run_session(session, result);
  }

 private:
  void run_session(const Session& session, CaseResult& result) {
    std::shared_ptr<KvCache> cache;
    if (!case_.layers.empty())
      cache = std::make_shared<KvCache>(backend_, case_.layers, session.num_blocks, case_.cache_dtype);
    Program program(case_.program, backend_, store_, cache, session.limits, session.checked);
    for (const Step& step : session.steps) {
      found_.push_back(step.ahead > 0 ? run_ahead(program, step) : run_step(program, step));
      result.steps++;
      for (const Expectation& expectation : step.expectations) check(expectation, result);
    }
  }

  std::map<std::string, InputSpan> spans(const Step& step) const {
    std::map<std::string, InputSpan> inputs;
    for (const auto& [name, input] : step.inputs) {
      const Numbers& numbers =
          input.step < 0 ? input.numbers : found_.at(static_cast<size_t>(input.step)).at(input.output);
      inputs[name] = {numbers.bits.data(), numbers.count(), numbers.dtype};
    }
    return inputs;
  }

  Outputs run_step(Program& program, const Step& step) const {
    const std::map<std::string, InputSpan> inputs = spans(step);
    Outputs outputs;
    std::map<std::string, OutputSpan> to;
    for (const auto& [name, id] : case_.program.outputs) {
      const ValueDescription& value = case_.program.values[static_cast<size_t>(id)];
      Numbers& numbers = outputs[name];
      numbers.dtype = value.dtype == DType::kI32 ? DType::kI32 : DType::kF32;
      const char* rows = value.shape[0].symbol == Symbol::kR ? "outputRows" : "tokens";
      numbers.bits.assign(static_cast<size_t>(inputs.at(rows).count * columns(value)), 0xdeadbeef);
      to[name] = {numbers.bits.data(), numbers.count(), numbers.dtype};
    }
    program.run(inputs, to, nullptr);
    return outputs;
  }

  Outputs run_ahead(Program& program, const Step& step) const {
    const std::map<std::string, InputSpan> inputs = spans(step);
    const size_t count = static_cast<size_t>(step.ahead * inputs.at("tokens").count);
    Outputs outputs;
    outputs["ids"] = {DType::kI32, std::vector<uint32_t>(count)};
    outputs["logprobs"] = {DType::kF32, std::vector<uint32_t>(count)};
    auto span = [&](const char* name) {
      Numbers& numbers = outputs.at(name);
      return OutputSpan{numbers.bits.data(), numbers.count(), numbers.dtype};
    };
    program.run_ahead(inputs, step.ahead, span("ids"), span("logprobs"), nullptr);
    return outputs;
  }

  static int64_t columns(const ValueDescription& value) {
    return value.shape.size() > 1 ? value.shape[1].size : 1;
  }

  void check(const Expectation& e, CaseResult& result) {
    result.comparisons++;
    const int64_t cols =
        columns(case_.program.values[static_cast<size_t>(case_.program.outputs.at(e.output))]);
    auto part = [&](const Numbers& numbers, int64_t first) {
      if ((first + e.count) * cols > numbers.count())
        throw Error(ErrorKind::kShape, e.output + ": too few numbers to compare");
      return Part{numbers, first * cols, e.count * cols};
    };
    const Part found = part(found_.back().at(e.output), e.first);
    const std::string where = "step " + std::to_string(found_.size() - 1) + ", " + e.output + ", rows from " +
                              std::to_string(e.first) + ": ";
    std::string problem;
    if (e.relation == Relation::kEqual) {
      const Outputs& other = found_.at(static_cast<size_t>(e.source));
      problem = difference(found, part(other.at(e.source_output), e.source_first), false);
      if (!problem.empty()) problem += ", the bits of step " + std::to_string(e.source);
    } else {
      const Part expected = part(case_.tables.at(static_cast<size_t>(e.source)), e.source_first);
      problem = e.relation == Relation::kExact ? difference(found, expected, true)
                                               : far(e, found, expected, result);
    }
    if (!problem.empty() && result.failures.size() < kMaxFailures) result.failures.push_back(where + problem);
  }

  static std::string far(const Expectation& e, const Part& found, const Part& expected, CaseResult& result) {
    const Distance d = distance(found, expected);
    if (!d.difference.empty()) return d.difference;
    result.nmse_share = std::max(result.nmse_share, d.nmse / e.nmse);
    if (e.worst > 0) result.worst_share = std::max(result.worst_share, d.worst / e.worst);
    if (d.nmse <= e.nmse && d.worst <= e.worst) return "";
    char text[160];
    std::snprintf(text, sizeof text, "NMSE %.2g of %.2g allowed, largest error %.3g of %.3g, at element %lld",
                  d.nmse, e.nmse, d.worst, e.worst, static_cast<long long>(d.worst_at));
    return text;
  }

  const Case& case_;
  std::shared_ptr<Backend> backend_;
  std::shared_ptr<WeightStore> store_;
  std::vector<Outputs> found_;  // by step
};

}  // namespace

CaseResult run_case(const Case& one, const std::shared_ptr<Backend>& backend) {
  CaseResult result;
  try {
    CaseRun(one, backend).run(result);
  } catch (const std::exception& error) {
    result.failures.push_back("after " + std::to_string(result.steps) + " steps: " + error.what());
  }
  return result;
}

}  // namespace kvasir::conformance
