#include "vectors.h"

#include <cstring>

#include "checkpoint/convert.h"
#include "platform/platform.h"
#include "types/error.h"

namespace kvasir::conformance {

namespace {

constexpr char kMagic[] = "KVASIRV3";

class Reader {
 public:
  explicit Reader(const std::string& path) : path_(path) {
    const platform::File file(path);
    bytes_.resize(static_cast<size_t>(file.size()));
    file.read(0, bytes_.data(), bytes_.size());
  }

  [[noreturn]] void fail(const std::string& what) const {
    throw Error(ErrorKind::kFileFormat, path_ + ": " + what + " at byte " + std::to_string(at_));
  }

  const char* take(int64_t count) {
    if (count < 0 || static_cast<uint64_t>(count) > bytes_.size() - at_) fail("more was expected");
    const char* begin = bytes_.data() + at_;
    at_ += static_cast<size_t>(count);
    return begin;
  }

  template <typename T>
  T value() {
    T result;
    std::memcpy(&result, take(sizeof(T)), sizeof(T));
    return result;
  }

  int64_t integer() { return value<int64_t>(); }
  bool flag() { return value<uint8_t>() != 0; }
  std::string text() {
    const int64_t count = integer();
    return std::string(take(count), static_cast<size_t>(count));
  }

  template <typename E>
  E choice(int count) {
    const uint8_t index = value<uint8_t>();
    if (index >= count) fail("an unknown kind");
    return static_cast<E>(index);
  }
  DType dtype() { return choice<DType>(6); }
  Layout layout() { return choice<Layout>(3); }

  template <typename F>
  auto list(const F& item) {
    const int64_t count = integer();
    if (count < 0 || static_cast<uint64_t>(count) > bytes_.size() - at_) fail("a shorter list was expected");
    std::vector<decltype(item())> items;
    for (int64_t i = 0; i < count; i++) items.push_back(item());
    return items;
  }

  template <typename F>
  auto map(const F& item) {
    std::map<std::string, decltype(item())> items;
    for (int64_t count = integer(); count > 0; count--) {
      const std::string key = text();
      items.emplace(key, item());
    }
    return items;
  }

  // As 4-byte numbers, however they are stored.
  Numbers numbers() {
    const DType stored = dtype();
    const int64_t count = integer();
    Numbers result{stored == DType::kI32 ? DType::kI32 : DType::kF32, {}};
    const char* from = take(count < 0 || count > INT32_MAX ? -1 : count * size_of(stored));
    result.bits.resize(static_cast<size_t>(count));
    if (size_of(stored) == 4) {
      std::memcpy(result.bits.data(), from, static_cast<size_t>(4 * count));
      return result;
    }
    std::vector<uint16_t> halves(static_cast<size_t>(count));
    std::memcpy(halves.data(), from, static_cast<size_t>(2 * count));
    float* to = reinterpret_cast<float*>(result.bits.data());
    if (stored == DType::kBF16) convert<DType::kBF16, DType::kF32>(halves.data(), to, count);
    if (stored == DType::kF16) convert<DType::kF16, DType::kF32>(halves.data(), to, count);
    return result;
  }

  bool at_end() const { return at_ == bytes_.size(); }

 private:
  std::string path_;
  std::vector<char> bytes_;
  size_t at_ = 0;
};

Dim read_dim(Reader& r) {
  const Symbol symbol = r.choice<Symbol>(kNumSymbols);
  return {symbol, r.integer()};
}

ValueDescription read_value(Reader& r) {
  ValueDescription value;
  value.kind = r.choice<ValueKind>(4);
  value.name = r.text();
  value.shape = r.list([&] { return read_dim(r); });
  value.dtype = r.dtype();
  value.layout = r.layout();
  value.interleaved = r.flag();
  value.stacked = r.integer();
  const Numbers data = r.numbers();
  value.data.assign(data.floats(), data.floats() + data.count());
  return value;
}

Attribute read_attribute(Reader& r) {
  switch (r.value<uint8_t>()) {
    case 0:
      return r.value<double>();
    case 1:
      return r.flag();
    case 2:
      return r.text();
    case 3:
      return r.list([&] { return r.value<double>(); });
    default:
      r.fail("an unknown kind of attribute");
  }
}

NodeDescription read_node(Reader& r) {
  auto id = [&] { return static_cast<int>(r.integer()); };
  NodeDescription node;
  node.op = r.text();
  node.name = r.text();
  node.inputs = r.map(id);
  node.outputs = r.map(id);
  node.attributes = r.map([&] { return read_attribute(r); });
  return node;
}

StoredWeight read_weight(Reader& r) {
  StoredWeight weight;
  weight.name = r.text();
  weight.dtype = r.dtype();
  weight.layout = r.layout();
  weight.rows = r.integer();
  weight.cols = r.integer();
  weight.numbers = r.numbers();
  return weight;
}

Expectation read_expectation(Reader& r) {
  Expectation e{};
  e.output = r.text();
  e.first = r.integer();
  e.count = r.integer();
  e.relation = r.choice<Relation>(3);
  e.source = r.integer();
  if (e.relation == Relation::kEqual) e.source_output = r.text();
  e.source_first = r.integer();
  if (e.relation == Relation::kNear) {
    e.nmse = r.value<double>();
    e.worst = r.value<double>();
  }
  return e;
}

StepInput read_input(Reader& r) {
  StepInput input;
  if (r.flag()) {
    input.step = r.integer();
    input.output = r.text();
  } else {
    input.numbers = r.numbers();
  }
  return input;
}

Step read_step(Reader& r) {
  Step step;
  step.ahead = r.integer();
  step.inputs = r.map([&] { return read_input(r); });
  step.expectations = r.list([&] { return read_expectation(r); });
  return step;
}

Session read_session(Reader& r) {
  Session session;
  session.num_blocks = r.integer();
  for (int64_t* limit : {&session.limits.max_tokens, &session.limits.max_rows, &session.limits.max_sequences,
                         &session.limits.max_blocks, &session.limits.max_edits, &session.limits.max_masks})
    *limit = r.integer();
  session.checked = r.flag();
  session.steps = r.list([&] { return read_step(r); });
  return session;
}

KvLayerShape read_layer(Reader& r) {
  const int64_t kv_heads = r.integer();
  return {kv_heads, r.integer()};
}

Case read_case(Reader& r) {
  Case one;
  one.name = r.text();
  one.small = r.flag();
  one.program.values = r.list([&] { return read_value(r); });
  one.program.nodes = r.list([&] { return read_node(r); });
  one.program.outputs = r.map([&] { return static_cast<int>(r.integer()); });
  one.weights = r.list([&] { return read_weight(r); });
  one.layers = r.list([&] { return read_layer(r); });
  one.cache_dtype = r.dtype();
  one.tables = r.list([&] { return r.numbers(); });
  one.sessions = r.list([&] { return read_session(r); });
  return one;
}

}  // namespace

std::vector<Case> read_vectors(const std::string& path) {
  Reader r(path);
  if (std::memcmp(r.take(sizeof kMagic - 1), kMagic, sizeof kMagic - 1) != 0)
    r.fail("other vectors were expected");
  std::vector<Case> cases = r.list([&] { return read_case(r); });
  if (!r.at_end()) r.fail("the end was expected");
  return cases;
}

}  // namespace kvasir::conformance
