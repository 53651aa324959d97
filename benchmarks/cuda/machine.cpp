#include "machine.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>

#include "checkpoint/convert.h"
#include "checkpoint/pack.h"
#include "checkpoint/quantize.h"
#include "types/tile-blocks.h"

namespace kvasir::benchmark {

namespace {

constexpr int64_t kPoolNumbers = 1 << 22;
constexpr int64_t kChunkNumbers = 1 << 20;
constexpr double kMostSetBytes = 4e9;
constexpr int kMostSets = 512;

class Event {
 public:
  explicit Event(Machine& machine) : machine_(machine) {
    machine.check(machine.module().create_event(machine.device().index(), &event_));
  }
  ~Event() { machine_.module().destroy_event(event_); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  void record() { machine_.check(machine_.module().record(machine_.device().stream(), event_)); }
  double us_since(const Event& start) const {
    double milliseconds = 0;
    machine_.check(machine_.module().elapsed_ms(start.event_, event_, &milliseconds));
    return 1000 * milliseconds;
  }

 private:
  Machine& machine_;
  cuda::Event* event_ = nullptr;
};

template <DType dtype>
void narrow(const float* from, std::byte* to, int64_t count) {
  convert<DType::kF32, dtype>(from, reinterpret_cast<typename Element<dtype>::Type*>(to), count);
}

}  // namespace

Memory::Memory(Machine& machine, int64_t bytes)
    : machine_(machine), data_(machine.device().allocate(bytes)), bytes_(bytes) {}
Memory::Memory(Memory&& other) noexcept : machine_(other.machine_), data_(other.data_), bytes_(other.bytes_) {
  other.data_ = nullptr;
}
Memory::~Memory() { machine_.device().release(data_, bytes_); }

Machine::Machine(std::shared_ptr<CudaBackend> backend, Scale scale)
    : backend_(std::move(backend)), scale_(scale), pool_(static_cast<size_t>(kPoolNumbers)) {
  for (float& x : pool_) x = static_cast<float>(2 * random_unit() - 1);
}

// xorshift64*: Vigna 2016, https://arxiv.org/abs/1402.6246
double Machine::random_unit() {
  state_ ^= state_ >> 12;
  state_ ^= state_ << 25;
  state_ ^= state_ >> 27;
  return static_cast<double>((state_ * 0x2545f4914f6cdd1d) >> 11) * 0x1p-53;
}

cuda::Execution Machine::execution(const Memory* scratch) {
  return {*device().stream(),       scratch != nullptr ? scratch->data() : nullptr,
          device().counters(),      info().architecture,
          info().multiprocessors,   info().shared_bytes,
          info().architecture >= 90};
}

void Machine::fill_random(std::byte* memory, DType dtype, int64_t count, double spread, double centre) {
  std::vector<float> numbers(static_cast<size_t>(std::min(count, kChunkNumbers)));
  std::vector<std::byte> bytes(numbers.size() * static_cast<size_t>(size_of(dtype)));
  const float scale = static_cast<float>(spread), shift = static_cast<float>(centre);
  for (int64_t at = 0; at < count; at += kChunkNumbers) {
    const int64_t n = std::min(kChunkNumbers, count - at);
    const float* pool = pool_.data() + static_cast<int64_t>(random_unit() * (kPoolNumbers - n));
    for (int64_t i = 0; i < n; i++) numbers[static_cast<size_t>(i)] = pool[i] * scale + shift;
    if (dtype == DType::kF32) narrow<DType::kF32>(numbers.data(), bytes.data(), n);
    if (dtype == DType::kF16) narrow<DType::kF16>(numbers.data(), bytes.data(), n);
    if (dtype == DType::kBF16) narrow<DType::kBF16>(numbers.data(), bytes.data(), n);
    device().write(memory + at * size_of(dtype), bytes.data(), n * size_of(dtype));
  }
}

void Machine::fill_blocks(std::byte* tiles, DType dtype, int64_t bytes, double spread) {
  constexpr int64_t kTiles = 128;  // that differ
  std::vector<uint8_t> some(static_cast<size_t>(kTiles * tile_bytes(dtype)));
  std::vector<float> numbers(static_cast<size_t>(kBlockColumns));
  const auto store = [&](auto block, uint8_t* line, int64_t half) {
    quantize(numbers.data(), 1, &block);
    store_in_line(block, line, half);
  };
  for (int64_t line = 0; line < kTiles * kTileRows; line++)
    for (int64_t half = 0; half < 2; half++) {
      for (float& x : numbers) x = static_cast<float>(spread * (2 * random_unit() - 1));
      uint8_t* at = some.data() + line * tile_line_bytes(dtype);
      dtype == DType::kQ8 ? store(Q8Block{}, at, half) : store(Q4Block{}, at, half);
    }
  for (int64_t at = 0; at < bytes; at += static_cast<int64_t>(some.size()))
    device().write(tiles + at, some.data(), std::min(bytes - at, static_cast<int64_t>(some.size())));
}

Memory Machine::random(DType dtype, int64_t count, double spread, double centre) {
  Memory memory(*this, count * size_of(dtype));
  fill_random(memory.data(), dtype, count, spread, centre);
  return memory;
}

Memory Machine::integers(const std::vector<int32_t>& numbers) {
  Memory memory(*this, static_cast<int64_t>(numbers.size() * 4));
  device().write(memory.data(), numbers.data(), memory.bytes());
  return memory;
}

Memory Machine::floats(const std::vector<float>& numbers) {
  Memory memory(*this, static_cast<int64_t>(numbers.size() * 4));
  device().write(memory.data(), numbers.data(), memory.bytes());
  return memory;
}

Memory Machine::poisoned(int64_t bytes) {
  Memory memory(*this, bytes);
  check(module().fill(device().stream(), memory.data(), 0xff, bytes));
  return memory;
}

std::vector<double> Machine::read(DType dtype, const std::byte* from, int64_t count) {
  std::vector<std::byte> bytes(static_cast<size_t>(count * size_of(dtype)));
  device().read(bytes.data(), from, count * size_of(dtype));
  std::vector<float> floats(static_cast<size_t>(count));
  widen(dtype, bytes.data(), floats.data(), count);
  return {floats.begin(), floats.end()};
}

int Machine::sets(double bytes) const {
  if (tiny()) return 2;
  const double cache = static_cast<double>(backend_->device().info().l2_bytes);
  const double enough = std::ceil(3 * cache / bytes) + 1,
               most = std::max(2.0, std::floor(kMostSetBytes / bytes));
  return static_cast<int>(std::clamp(enough, 2.0, std::min<double>(most, kMostSets)));
}

double Machine::replay_us(const cuda::CapturedGraph& graph, int launches) {
  Event start(*this), end(*this);
  start.record();
  check(module().launch_graph(device().stream(), graph.get()));
  end.record();
  device().synchronize();
  return end.us_since(start) / launches;
}

Timing Machine::time(int sets, const std::function<void(int set)>& launch) {
  // The first launches load code; the second tell how long one takes, more or less.
  for (int set = 0; set < sets; set++) launch(set);
  device().synchronize();
  Event start(*this), end(*this);
  start.record();
  for (int set = 0; set < sets; set++) launch(set);
  end.record();
  device().synchronize();
  const double estimate = std::max(0.5, end.us_since(start) / sets);

  constexpr double kGraphUs = 2000, kSeriesUs = 300'000;
  const double wanted = tiny() ? 1 : kGraphUs / estimate;
  const int rounds = static_cast<int>(std::clamp(std::ceil(wanted / sets), 1.0, std::ceil(1000.0 / sets)));
  const int launches = rounds * sets;
  check(module().begin_capture(device().stream()));
  for (int i = 0; i < launches; i++) launch(i % sets);
  cuda::Graph* captured = nullptr;
  check(module().end_capture(device().stream(), &captured));
  const cuda::CapturedGraph graph(module(), captured);

  const int replays =
      tiny() ? 2 : static_cast<int>(std::clamp(kSeriesUs / (estimate * launches), 7.0, 101.0));
  for (int i = 0; i < (tiny() ? 0 : 3); i++) replay_us(graph, launches);
  std::vector<double> first, second;
  for (int i = 0; i < replays; i++) {
    first.push_back(replay_us(graph, launches));
    second.push_back(replay_us(graph, launches));
  }
  return {median(first), median(second)};
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

void print(const Result& r) {
  std::printf(
      "{\"kind\": \"kernel\", \"group\": \"%s\", \"name\": \"%s\", \"us\": %.4f, \"us_again\": %.4f, "
      "\"bytes\": %.0f, "
      "\"operations\": %.0f, \"error\": %.3g, \"error_allowed\": %.3g, \"verified\": \"%s\"}\n",
      r.group.c_str(), r.name.c_str(), r.us, r.us_again, r.bytes, r.operations, r.error, r.error_allowed,
      r.verified.c_str());
  std::fflush(stdout);
}

}  // namespace kvasir::benchmark
