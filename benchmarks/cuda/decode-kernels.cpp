#include <cmath>
#include <cstdio>

#include "benchmarks.h"
#include "types/tiles.h"

namespace kvasir::benchmark {

namespace {

constexpr DType kType = DType::kBF16;
constexpr const char* kGroup = "kernels of a decode step";

// Times what has no benchmark of its own; `bytes` is what a launch must move, `made` what one set holds.
void bench_launches(Machine& machine, const std::string& name, double bytes, const std::string& verified,
                    int sets, const std::function<void(int)>& launch) {
  Result r{kGroup, name};
  r.bytes = bytes;
  r.verified = verified;
  const Timing timing = machine.time(sets, launch);
  r.us = timing.us;
  r.us_again = timing.us_again;
  print(r);
}

void expect_same(const std::string& name, const std::vector<double>& found,
                 const std::vector<double>& expected, double allowed) {
  for (size_t i = 0; i < expected.size(); i++)
    if (!(std::fabs(found[i] - expected[i]) <= allowed))
      throw Error(ErrorKind::kInternal, name + ": element " + std::to_string(i) + " is " +
                                            std::to_string(found[i]) + ", expected " +
                                            std::to_string(expected[i]));
}

// The row of the token, out of the head's tiles.
void bench_embedding(Machine& machine, int64_t V, int64_t C) {
  const Memory weight = machine.random(kType, tiles_bytes(kType, V, C) / 2, 1);
  const Memory ids = machine.integers({static_cast<int32_t>(V / 2), static_cast<int32_t>(V / 3)});
  const Memory y = machine.poisoned(C * 2);
  auto launch = [&](int set) {
    const Embedding p{ids.as<int32_t>() + set, weight.data(), y.data(), 1, V, C, C, kType,
                      Layout::kTiles,          kType};
    cuda::Execution e = machine.execution();
    machine.check(machine.kernels().embedding(p, e));
  };
  launch(1);
  machine.device().synchronize();
  const int64_t band = tiles_bytes(kType, kTileRows, C) / 2, row = V / 3;
  const std::vector<double> tiles = machine.read(kType, weight.data() + row / kTileRows * band * 2, band);
  std::vector<double> expected;
  for (int64_t c = 0; c < C; c++)
    expected.push_back(tiles[static_cast<size_t>(tile_index(kType, C, row % kTileRows, c))]);
  expect_same("embedding", machine.read(kType, y.data(), C), expected, 0);
  bench_launches(machine, "embedding", static_cast<double>(4 * C), "all elements", 2, launch);
}

void bench_rope_table(Machine& machine, int64_t P) {
  std::vector<double> frequencies;
  for (int64_t i = 0; i < P; i++)
    frequencies.push_back(std::pow(5e5, -static_cast<double>(i) / static_cast<double>(P)));
  const Memory on_device(machine, P * 8), positions = machine.integers({4711, 815}),
                                          y = machine.poisoned(2 * P * 4);
  machine.device().write(on_device.data(), frequencies.data(), P * 8);
  auto launch = [&](int set) {
    const RopeTable p{positions.as<int32_t>() + set, on_device.as<double>(), y.as<float>(), 1, P, 1};
    cuda::Execution e = machine.execution();
    machine.check(machine.kernels().rope_table(p, e));
  };
  launch(0);
  machine.device().synchronize();
  std::vector<double> expected(static_cast<size_t>(2 * P));
  for (size_t i = 0; i < frequencies.size(); i++) {
    expected[i] = std::cos(4711 * frequencies[i]);
    expected[i + frequencies.size()] = std::sin(4711 * frequencies[i]);
  }
  expect_same("rope-table", machine.read(DType::kF32, y.data(), 2 * P), expected, 1e-6);
  bench_launches(machine, "rope-table", static_cast<double>(16 * P), "all elements", 2, launch);
}

// Keys rotated and appended with values, queries rotated in place; by angles of 0, so that they stay as they are.
void bench_kv_append(Machine& machine, int64_t H, int64_t KH, int64_t D) {
  const int64_t columns = (H + 2 * KH) * D, context = 100;
  const Memory qkv = machine.random(kType, columns, 1);
  const Memory cache(machine,
                     4 * KvCacheLayer{nullptr, 4, KH, D, kType, KeyLayout::kByPosition}.block_bytes());
  const KvCacheLayer layer{cache.data(), 4, KH, D, kType, KeyLayout::kByPosition};
  std::vector<float> angles(static_cast<size_t>(D));
  for (int64_t i = 0; i < D / 2; i++) angles[static_cast<size_t>(i)] = 1;
  const Memory table = machine.floats(angles), starts = machine.integers({0, 1});
  const Memory lengths = machine.integers({static_cast<int32_t>(context)}),
               blocks = machine.integers({2, 0, 3, 1});
  std::byte *q = qkv.data(), *k = q + H * D * 2, *v = k + KH * D * 2;
  auto launch = [&](int) {
    const KvAppend p{k,
                     v,
                     layer,
                     {starts.as<int32_t>(), lengths.as<int32_t>(), blocks.as<int32_t>(), 1, 1, 4},
                     columns,
                     columns,
                     table.as<float>(),
                     q,
                     columns,
                     H,
                     D / 2,
                     false,
                     kType};
    cuda::Execution e = machine.execution();
    machine.check(machine.kernels().kv_append(p, e));
  };
  const std::vector<double> before = machine.read(kType, qkv.data(), columns);
  launch(0);
  machine.device().synchronize();
  expect_same("kv-append", machine.read(kType, qkv.data(), columns), before, 0);
  const int64_t place = (context - 1) % kBlockTokens * KvCacheLayer::padded(D) * 2;
  const std::vector<double> key = machine.read(kType, layer.keys(1, KH - 1) + place, D);
  expect_same("kv-append", key, machine.read(kType, k + (KH - 1) * D * 2, D), 0);
  const std::vector<double> value = machine.read(kType, layer.values(1, KH - 1) + place, D);
  expect_same("kv-append", value, machine.read(kType, v + (KH - 1) * D * 2, D), 0);
  bench_launches(machine, "kv-append with rotation", static_cast<double>(4 * columns), "a key and a value", 1,
                 launch);
}

void bench_sample(Machine& machine, const std::string& name, int64_t V, float temperature, float top_p) {
  const int sets = machine.sets(static_cast<double>(4 * V));
  const Memory logits = machine.random(DType::kF32, sets * V, 8);
  const Memory scratch(machine, sample_cuda_scratch_bytes(1, V, false));
  const Memory ids = machine.integers({-2}), logprobs = machine.floats({0}), zeros = machine.integers({0, 0});
  const Memory rules = machine.floats({temperature, top_p, 0});
  auto launch = [&](int set) {
    const float* rule = rules.as<float>();
    const Sample p{.logits = logits.as<float>() + set * V,
                   .adjusted = nullptr,
                   .typical_p = nullptr,
                   .forced = nullptr,
                   .temperature = rule,
                   .top_k = zeros.as<int32_t>(),
                   .top_p = rule + 1,
                   .min_p = rule + 2,
                   .seed = zeros.as<int32_t>(),
                   .counter = zeros.as<int32_t>(),
                   .ids = ids.as<int32_t>(),
                   .logprobs = logprobs.as<float>(),
                   .R = 1,
                   .V = V,
                   .logits_stride = V,
                   .adjusted_stride = 0,
                   .dtype = DType::kF32};
    cuda::Execution e = machine.execution(&scratch);
    machine.check(machine.kernels().sample(p, e));
  };
  launch(0);
  machine.device().synchronize();
  const std::vector<double> row = machine.read(DType::kF32, logits.data(), V);
  int32_t id = -2;
  machine.device().read(&id, ids.data(), 4);
  if (id < 0 || id >= V) throw Error(ErrorKind::kInternal, name + ": token " + std::to_string(id));
  double most = row[0], total = 0;
  for (double x : row) most = std::max(most, x);
  for (double x : row) total += std::exp(x - most);
  if (temperature == 0) expect_same(name, {row[static_cast<size_t>(id)]}, {most}, 0);
  expect_same(name, machine.read(DType::kF32, logprobs.data(), 1),
              {row[static_cast<size_t>(id)] - most - std::log(total)}, 2e-5);
  bench_launches(machine, name, static_cast<double>(4 * V), "its token's log probability", sets, launch);
}

}  // namespace

void bench_decode_kernels(Machine& machine, Suite& suite) {
  const bool tiny = machine.tiny();
  const int64_t C = tiny ? 128 : 2048, F = 4 * C, V = tiny ? 300 : 128'256, D = 64, H = C / D,
                KH = tiny ? 1 : 8;
  auto run = [&](const std::string& name, const auto& body) { suite.run(kGroup, name, [&] { body(name); }); };
  auto linear = [&](const std::string& name, const LinearShape& shape) {
    run(name, [&](const std::string& n) { bench_linear(machine, kGroup, n, shape); });
  };
  run("embedding", [&](const std::string&) { bench_embedding(machine, V, C); });
  run("rope-table", [&](const std::string&) { bench_rope_table(machine, D / 2); });
  linear("norm, q|k|v", {1, (H + 2 * KH) * D, C, false, false, true});
  run("kv-append with rotation", [&](const std::string&) { bench_kv_append(machine, H, KH, D); });
  for (int64_t context : {128, 1024, 8192}) {
    if (tiny && context > 128) break;
    run("attention, " + std::to_string(context) + " tokens", [&](const std::string& name) {
      bench_attention(machine, kGroup, name, {1, 1, context, H, KH, D});
    });
  }
  linear("attention output", {1, C, H * D, false, true});
  linear("norm, gate|up", {1, F, C, true, false, true, Activation::kSilu});
  linear("down", {1, C, F, false, true});
  linear("norm, head", {1, V, C, false, false, true, Activation::kNone, DType::kF32});
  run("sample, greedy", [&](const std::string& name) { bench_sample(machine, name, V, 0, 1); });
  run("sample, top-p 0.9", [&](const std::string& name) { bench_sample(machine, name, V, 1, 0.9f); });
}

void bench_gaps(Machine& machine, Suite& suite) {
  constexpr const char* group = "gaps";
  const Memory a = machine.random(kType, 8, 1), y = machine.poisoned(16);
  const Add p{a.data(), y.data(), y.data(), 1, 8, 8, 8, 8, kType};
  machine.check(machine.module().fill(machine.device().stream(), y.data(), 0, 16));
  for (bool overlap : {true, false}) {
    auto launch = [&](int) {
      cuda::Execution e = machine.execution();
      e.overlap = e.overlap && overlap;
      machine.check(machine.kernels().add(p, e));
    };
    const std::string name =
        std::string("kernel after kernel, 8 elements each, ") + (overlap ? "" : "not ") + "overlapping";
    suite.run(group, name, [&] {
      Result r{group, name};
      r.verified = "nothing to verify";
      const Timing timing = machine.time(machine.tiny() ? 4 : 200, launch);
      r.us = timing.us;
      r.us_again = timing.us_again;
      print(r);
    });
  }
}

}  // namespace kvasir::benchmark
