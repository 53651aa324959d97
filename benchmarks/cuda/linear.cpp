#include <algorithm>
#include <cmath>

#include "benchmarks.h"
#include "checkpoint/convert.h"
#include "types/tiles.h"

namespace kvasir::benchmark {

namespace {

constexpr DType kType = DType::kBF16;
constexpr float kEpsilon = 1e-5f;

// To bf16, as a norm's result is.
double rounded(double x) {
  using Bf16 = Element<DType::kBF16>;
  return static_cast<double>(Bf16::to_f32(Bf16::from_f32(static_cast<float>(x))));
}

// One set of a layer's operands.
struct Operands {
  Memory x, weight, residual, norm_weight, y;
};

int64_t stored_rows(const LinearShape& s) {
  return s.gated ? 2 * ((s.N + kTileInterleaveRows - 1) / kTileInterleaveRows * kTileInterleaveRows) : s.N;
}

class LinearBench {
 public:
  LinearBench(Machine& machine, const LinearShape& shape)
      : machine_(machine),
        s_(shape),
        rows_(stored_rows(shape)),
        scratch_(machine, std::max<int64_t>(1, linear_cuda_scratch_bytes(s_.M, rows_, s_.K, kType))) {
    for (int set = machine_.sets(bytes()); set > 0; set--) operands_.push_back(make());
  }

  double bytes() const {
    const double in = static_cast<double>(s_.M * s_.K * 2 + (s_.norm ? s_.K * 4 : 0)),
                 out = static_cast<double>(s_.M * s_.N) * static_cast<double>(size_of(s_.y_dtype));
    return in + static_cast<double>(rows_ * s_.K * 2) + out * (s_.residual ? 2 : 1);
  }
  double operations() const { return 2.0 * static_cast<double>(s_.M * s_.N * s_.K) * (s_.gated ? 2 : 1); }

  // Some outputs against f64; and that every output was written.
  void verify(Result& r) {
    const Operands& o = operands_[0];
    launch(0);
    machine_.device().synchronize();
    const std::vector<double> y = machine_.read(s_.y_dtype, o.y.data(), s_.M * s_.N);
    for (double value : y)
      if (!std::isfinite(value))
        throw Error(ErrorKind::kInternal, r.name + ": an output was not written, or is not finite");
    const int samples = machine_.tiny() ? 8 : 48;
    double largest = 0;
    for (int i = 0; i < samples; i++) {
      // The corners, then anywhere.
      const int64_t m = i < 4 ? (i & 1 ? s_.M - 1 : 0) : pick(s_.M),
                    n = i < 4 ? (i & 2 ? s_.N - 1 : 0) : pick(s_.N);
      const double expected = output(o, m, n), found = y[static_cast<size_t>(m * s_.N + n)];
      largest = std::max(largest, std::fabs(expected));
      r.error = std::max(r.error, std::fabs(found - expected));
    }
    // A rounding of the result, and of what is normalised before; f32 sums of products of order 1.
    r.error_allowed = largest * (s_.y_dtype == kType ? 0x1p-7 : 0x1p-10);
    r.verified = std::to_string(samples) + " outputs in f64";
  }

  Timing time() {
    return machine_.time(static_cast<int>(operands_.size()), [&](int set) { launch(set); });
  }

 private:
  Operands make() {
    return {machine_.random(kType, s_.M * s_.K, 1),
            machine_.random(kType, tiles_bytes(kType, rows_, s_.K) / 2,
                            std::sqrt(3.0 / static_cast<double>(s_.K))),
            machine_.random(s_.y_dtype, s_.residual ? s_.M * s_.N : 1, 1),
            machine_.random(DType::kF32, s_.norm ? s_.K : 1, 0.2, 1),
            machine_.poisoned(s_.M * s_.N * size_of(s_.y_dtype))};
  }

  int64_t pick(int64_t count) {
    return static_cast<int64_t>(machine_.random_unit() * static_cast<double>(count));
  }

  void launch(int set) {
    const Operands& o = operands_[static_cast<size_t>(set)];
    const Linear l{o.x.data(),    o.weight.data(),
                   nullptr,       s_.residual ? o.residual.data() : nullptr,
                   o.y.data(),    s_.M,
                   s_.N,          s_.K,
                   s_.K,          s_.N,
                   s_.N,          kType,
                   kType,         s_.y_dtype,
                   s_.activation, s_.gated};
    cuda::Execution e = machine_.execution(&scratch_);
    if (!s_.norm) return machine_.check(machine_.kernels().linear(l, e));
    const RmsNorm norm{
        o.x.data(), nullptr, o.norm_weight.as<float>(), nullptr, nullptr, s_.M, 1, s_.K, s_.K, 0, 0, s_.K,
        kEpsilon,   kType};
    machine_.check(machine_.kernels().rms_norm_linear(norm, l, e));
  }

  // Row m of what the weights multiply.
  std::vector<double> input_row(const Operands& o, int64_t m) {
    std::vector<double> x = machine_.read(kType, o.x.data() + m * s_.K * 2, s_.K);
    if (!s_.norm) return x;
    const std::vector<double> weight = machine_.read(DType::kF32, o.norm_weight.data(), s_.K);
    double squares = 0;
    for (double value : x) squares += value * value;
    const double scale = 1 / std::sqrt(squares / static_cast<double>(s_.K) + static_cast<double>(kEpsilon));
    for (size_t k = 0; k < x.size(); k++) x[k] = rounded(x[k] * scale * weight[k]);
    return x;
  }

  // Stored row `row` of the weight, out of its tiles.
  double product(const Operands& o, const std::vector<double>& x, int64_t row) {
    const int64_t band = tiles_bytes(kType, kTileRows, s_.K) / 2;
    const std::vector<double> tiles =
        machine_.read(kType, o.weight.data() + row / kTileRows * band * 2, band);
    double sum = 0;
    for (int64_t k = 0; k < s_.K; k++)
      sum +=
          x[static_cast<size_t>(k)] * tiles[static_cast<size_t>(tile_index(kType, s_.K, row % kTileRows, k))];
    return sum;
  }

  double output(const Operands& o, int64_t m, int64_t n) {
    const std::vector<double> x = input_row(o, m);
    double y;
    if (s_.gated) {
      const int64_t gate = n / kTileInterleaveRows * 2 * kTileInterleaveRows + n % kTileInterleaveRows;
      const double g = product(o, x, gate);
      y = g / (1 + std::exp(-g)) * product(o, x, gate + kTileInterleaveRows);
    } else {
      y = product(o, x, n);
    }
    if (!s_.residual) return y;
    return y + machine_.read(s_.y_dtype, o.residual.data() + (m * s_.N + n) * size_of(s_.y_dtype), 1)[0];
  }

  Machine& machine_;
  const LinearShape s_;
  const int64_t rows_;
  Memory scratch_;
  std::vector<Operands> operands_;
};

}  // namespace

void check_error(const Result& r) {
  if (r.error <= r.error_allowed) return;
  throw Error(ErrorKind::kInternal, r.name + ": off by " + std::to_string(r.error) + ", " +
                                        std::to_string(r.error_allowed) + " is allowed");
}

void bench_linear(Machine& machine, const std::string& group, const std::string& name,
                  const LinearShape& shape) {
  LinearBench bench(machine, shape);
  Result r{group, name};
  r.bytes = bench.bytes();
  r.operations = bench.operations();
  bench.verify(r);
  check_error(r);
  const Timing timing = bench.time();
  r.us = timing.us;
  r.us_again = timing.us_again;
  print(r);
}

void bench_products(Machine& machine, Suite& suite) {
  const bool tiny = machine.tiny();
  for (int64_t size : {int64_t{4096}, int64_t{8192}}) {
    const int64_t n = tiny ? size / 32 : size;
    const std::string name = std::to_string(n) + "^3";
    suite.run("large products", name, [&] { bench_linear(machine, "large products", name, {n, n, n}); });
  }
  struct Layer {
    const char* name;
    LinearShape shape;
  };
  const Layer layers[] = {
      {"q|k|v", {0, 3072, 2048}},
      {"attention output", {0, 2048, 2048, false, true}},
      {"gate|up", {0, 8192, 2048, true, false, false, Activation::kSilu}},
      {"down", {0, 2048, 8192, false, true}},
      {"head", {0, 128'256, 2048, false, false, false, Activation::kNone, DType::kF32}},
  };
  for (int64_t M : {int64_t{8}, int64_t{16}, int64_t{32}, int64_t{64}, int64_t{128}}) {
    for (const Layer& layer : layers) {
      LinearShape shape = layer.shape;
      shape.M = M;
      if (tiny) shape.N = std::min<int64_t>(shape.N / 16, 256), shape.K /= 16;
      const std::string name = std::string(layer.name) + ", " + std::to_string(M) + " rows";
      if (tiny && M != 16) continue;
      suite.run("products of few rows", name,
                [&] { bench_linear(machine, "products of few rows", name, shape); });
    }
  }
}

}  // namespace kvasir::benchmark
