#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>

#include "benchmarks.h"
#include "checkpoint/store.h"
#include "runtime/program.h"
#include "vectors.h"

namespace kvasir::benchmark {

namespace {

using conformance::Case;
using conformance::Numbers;
using conformance::StoredWeight;

// What a generation is: a prompt in one step, then steps of one token for each sequence.
struct Generation {
  int64_t sequences, prompt, tokens;
  int64_t context() const { return prompt + tokens + 1; }
  int64_t blocks() const { return (context() + kBlockTokens - 1) / kBlockTokens; }
};

struct Sampled {
  std::vector<int32_t> ids;
  std::vector<float> logprobs;
};

class ModelBench {
 public:
  ModelBench(Machine& machine, const Case& model, const Generation& generation, int64_t max_tokens)
      : machine_(machine),
        model_(model),
        g_(generation),
        store_(std::make_shared<WeightStore>(machine.backend()->weight_memory())) {
    for (const StoredWeight& weight : model.weights) declare(weight);
    cache_ = std::make_shared<KvCache>(machine.backend(), model.layers, g_.sequences * g_.blocks(),
                                       model.cache_dtype);
    const StepLimits limits{std::max(max_tokens, g_.sequences), g_.sequences, g_.sequences, g_.blocks()};
    program_ = std::make_unique<Program>(model.program, machine.backend(), store_, cache_, limits, false);
  }

  // Linear layers read all of their weights in a step, and attention the keys and values so far.
  double step_bytes() const {
    double bytes = 0;
    for (const StoredWeight& w : model_.weights)
      if (w.layout == Layout::kTiles) bytes += static_cast<double>(tiles_bytes(w.dtype, w.rows, w.cols));
    double position = 0;
    for (const KvLayerShape& layer : model_.layers)
      position += static_cast<double>(4 * layer.kv_heads * layer.head_size);
    const double mean_context = static_cast<double>(g_.prompt) + static_cast<double>(g_.tokens) / 2;
    return bytes + position * mean_context * static_cast<double>(g_.sequences);
  }

  // A prompt of `count` tokens of the first sequence; the last one's successor.
  Sampled prompt(int64_t sequence, int64_t from, int64_t count) {
    std::map<std::string, Numbers> tables = tables_of(1, from + count - 1);
    tables["tokens"] = integers(count, [&](int64_t i) { return token(sequence, from + i); });
    tables["positions"] = integers(count, [&](int64_t i) { return from + i; });
    tables["queryStarts"] = integers(2, [&](int64_t i) { return i * count; });
    tables["blockTables"] = integers(g_.blocks(), [&](int64_t i) { return sequence * g_.blocks() + i; });
    tables["outputRows"] = integers(1, [&](int64_t) { return count - 1; });
    return run(tables, 1);
  }

  // Steps of one token for every sequence, the first of them after `from` positions.
  Sampled generate(int64_t from, int64_t steps) {
    const int64_t S = g_.sequences;
    std::map<std::string, Numbers> tables = tables_of(S, from);
    tables["tokens"] = integers(S, [&](int64_t s) { return token(s, from); });
    tables["positions"] = integers(S, [&](int64_t) { return from; });
    tables["queryStarts"] = integers(S + 1, [&](int64_t i) { return i; });
    tables["blockTables"] = integers(S * g_.blocks(), [&](int64_t i) { return i; });
    tables["outputRows"] = integers(S, [&](int64_t s) { return s; });
    Sampled sampled{std::vector<int32_t>(static_cast<size_t>(S * steps)),
                    std::vector<float>(static_cast<size_t>(S * steps))};
    const OutputSpan ids{sampled.ids.data(), S * steps, DType::kI32};
    const OutputSpan logprobs{sampled.logprobs.data(), S * steps, DType::kF32};
    program_->run_ahead(spans(tables), steps, ids, logprobs, nullptr);
    return sampled;
  }

  // The tokens of a sequence one by one, by other kernels than those of a whole prompt, give the same bits.
  void verify(const std::string& name) {
    const int64_t count = g_.prompt;
    const Sampled whole = prompt(0, 0, count);
    if (!std::isfinite(whole.logprobs[0])) throw Error(ErrorKind::kInternal, name + ": no log probability");
    prompt(0, 0, count / 2);
    Sampled single;
    for (int64_t at = count / 2; at < count; at++) single = prompt(0, at, 1);
    if (single.ids != whole.ids || std::memcmp(single.logprobs.data(), whole.logprobs.data(), 4) != 0)
      throw Error(ErrorKind::kInternal, name + ": token by token gives " + std::to_string(single.ids[0]) +
                                            " at " + std::to_string(single.logprobs[0]) + ", the prompt " +
                                            std::to_string(whole.ids[0]) + " at " +
                                            std::to_string(whole.logprobs[0]));
  }

 private:
  void declare(const StoredWeight& w) {
    const StoredTensor& tensor = store_->declare(w.name, w.dtype, w.layout, w.rows, w.cols);
    if (is_blocked(w.dtype))
      return machine_.fill_blocks(tensor.data, w.dtype, static_cast<int64_t>(tensor.bytes),
                                  std::sqrt(3.0 / static_cast<double>(w.cols)));
    const int64_t count = static_cast<int64_t>(tensor.bytes) / size_of(w.dtype);
    if (w.cols > 1) {
      machine_.fill_random(tensor.data, w.dtype, count, std::sqrt(3.0 / static_cast<double>(w.cols)));
    } else {
      const bool scale = w.name.find("weight") != std::string::npos;
      machine_.fill_random(tensor.data, w.dtype, count, 0.2, scale ? 1 : 0);
    }
  }

  template <typename F>
  static Numbers integers(int64_t count, const F& number) {
    Numbers numbers{DType::kI32, {}};
    for (int64_t i = 0; i < count; i++) numbers.bits.push_back(static_cast<uint32_t>(number(i)));
    return numbers;
  }

  static Numbers floats(int64_t count, float x) {
    Numbers numbers{DType::kF32, std::vector<uint32_t>(static_cast<size_t>(count))};
    for (uint32_t& bits : numbers.bits) std::memcpy(&bits, &x, 4);
    return numbers;
  }

  // Any tokens, the same for the same place.
  static int64_t token(int64_t sequence, int64_t position) {
    return (sequence * 37 + position * 13 + 5) % 149;
  }

  // What does not depend on the kind of step, for `rows` rows whose last token is at `position`.
  static std::map<std::string, Numbers> tables_of(int64_t rows, int64_t position) {
    auto same = [&](int64_t number) { return integers(rows, [&](int64_t) { return number; }); };
    return {{"contextLengths", same(position + 1)},
            {"temperature", floats(rows, 0)},
            {"topK", same(0)},
            {"topP", floats(rows, 1)},
            {"minP", floats(rows, 0)},
            {"seed", integers(2 * rows, [](int64_t) { return 1; })},
            {"counter", same(position + 1)}};
  }

  static std::map<std::string, InputSpan> spans(const std::map<std::string, Numbers>& tables) {
    std::map<std::string, InputSpan> inputs;
    for (const auto& [name, numbers] : tables)
      inputs[name] = {numbers.bits.data(), numbers.count(), numbers.dtype};
    return inputs;
  }

  Sampled run(const std::map<std::string, Numbers>& tables, int64_t rows) {
    Sampled sampled{std::vector<int32_t>(static_cast<size_t>(rows)),
                    std::vector<float>(static_cast<size_t>(rows))};
    program_->run(spans(tables),
                  {{"ids", {sampled.ids.data(), rows, DType::kI32}},
                   {"logprobs", {sampled.logprobs.data(), rows, DType::kF32}}},
                  nullptr);
    return sampled;
  }

  Machine& machine_;
  const Case& model_;
  const Generation g_;
  std::shared_ptr<WeightStore> store_;
  std::shared_ptr<KvCache> cache_;
  std::unique_ptr<Program> program_;
};

double us_of(const std::function<void()>& body) {
  const auto start = std::chrono::steady_clock::now();
  body();
  return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start).count();
}

// Time a step, by the host's clock around all of them: what a caller sees.
void bench_generation(Machine& machine, const Case& model, const std::string& name,
                      const Generation& generation) {
  ModelBench bench(machine, model, generation, generation.prompt);
  bench.verify(name);
  for (int64_t s = 0; s < generation.sequences; s++) bench.prompt(s, 0, generation.prompt);
  std::vector<double> first, second;
  const int repeats = machine.tiny() ? 1 : 15;
  for (int i = -1; i < repeats; i++) {
    for (std::vector<double>* series : {&first, &second}) {
      const double us = us_of([&] { bench.generate(generation.prompt, generation.tokens); });
      if (i >= 0) series->push_back(us / static_cast<double>(generation.tokens));
    }
  }
  Result r{"generation", name};
  r.us = median(first);
  r.us_again = median(second);
  r.bytes = bench.step_bytes();
  r.verified = "token by token and whole prompt, same bits";
  print(r);
}

// Elements of the linear layers' weights; without the last layer, the head, which one row is given to.
double layer_weights(const Case& model) {
  double elements = 0, last = 0;
  for (const NodeDescription& node : model.program.nodes) {
    if (node.op != "linear") continue;
    const std::vector<Dim>& shape = model.program.values[static_cast<size_t>(node.inputs.at("weight"))].shape;
    elements += last;
    last = static_cast<double>(shape[0].size * shape[1].size);
  }
  return elements;
}

// A long prompt in one step.
void bench_prompt(Machine& machine, const Case& model, const std::string& name, int64_t tokens) {
  ModelBench bench(machine, model, {1, tokens, 1}, tokens);
  if (machine.tiny()) bench.verify(name);
  std::vector<double> first, second;
  for (int i = machine.tiny() ? 0 : -2; i < (machine.tiny() ? 1 : 9); i++)
    for (std::vector<double>* series : {&first, &second}) {
      const double us = us_of([&] { bench.prompt(0, 0, tokens); });
      if (i >= 0) series->push_back(us);
    }
  Result r{"prompt", name};
  r.us = median(first);
  r.us_again = median(second);
  r.operations = 2 * static_cast<double>(tokens) * layer_weights(model);
  r.verified = "its generation was";
  print(r);
}

}  // namespace

void bench_models(Machine& machine, Suite& suite, const std::string& programs) {
  const std::vector<Case> models = conformance::read_vectors(programs);
  for (const Case& model : models) {
    if ((model.name.rfind("tiny", 0) == 0) != machine.tiny()) continue;
    const bool tiny = machine.tiny();
    for (const Generation& g :
         {Generation{1, 32, tiny ? 4 : 128}, Generation{tiny ? 3 : 64, 32, tiny ? 4 : 128}}) {
      const std::string name = model.name + ", " + std::to_string(g.sequences) +
                               (g.sequences == 1 ? " sequence, " : " sequences, ") +
                               std::to_string(g.prompt) + " + " + std::to_string(g.tokens) + " tokens";
      suite.run("generation", name, [&] { bench_generation(machine, model, name, g); });
    }
    const int64_t tokens = tiny ? 70 : model.name.rfind("gpt2", 0) == 0 ? 1000 : 4096;
    const std::string name = model.name + ", " + std::to_string(tokens) + " tokens";
    suite.run("prompt", name, [&] { bench_prompt(machine, model, name, tokens); });
  }
}

}  // namespace kvasir::benchmark
