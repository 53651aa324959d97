#include <algorithm>
#include <cmath>
#include <numeric>

#include "benchmarks.h"

namespace kvasir::benchmark {

namespace {

constexpr DType kType = DType::kBF16;

int64_t blocks_of(int64_t positions) { return (positions + kBlockTokens - 1) / kBlockTokens; }

class AttentionBench {
 public:
  AttentionBench(Machine& machine, const AttentionShape& shape)
      : machine_(machine),
        s_(shape),
        N_(s_.sequences * s_.queries),
        W_(blocks_of(s_.context)),
        num_blocks_(s_.sequences * W_),
        scale_(1 / std::sqrt(static_cast<float>(s_.D))),
        scratch_(machine, attention_cuda_scratch_bytes(N_, s_.sequences, W_, s_.H, s_.KH, s_.D)),
        table_(shuffled_blocks()),
        query_starts_(machine.integers(multiples(s_.sequences + 1, s_.queries))),
        context_lengths_(machine.integers(
            std::vector<int32_t>(static_cast<size_t>(s_.sequences), static_cast<int32_t>(s_.context)))),
        block_tables_(machine.integers(table_)) {
    const KvCacheLayer layer{nullptr, num_blocks_, s_.KH, s_.D, kType, KeyLayout::kByPosition};
    for (int set = machine_.sets(bytes()); set > 0; set--)
      operands_.push_back({machine_.random(kType, N_ * s_.H * s_.D, 2),
                           machine_.random(kType, num_blocks_ * layer.block_bytes() / 2, 1.7),
                           machine_.poisoned(N_ * s_.H * s_.D * 2)});
  }

  // Queries and results, and every key and value once.
  double bytes() const {
    return 2.0 * 2 * static_cast<double>(N_ * s_.H * s_.D) +
           2.0 * 2 * static_cast<double>(s_.sequences * s_.context * s_.KH * s_.D);
  }
  // Products with keys and values that are seen: two operations a channel each.
  double operations() const {
    const double hidden = static_cast<double>(s_.queries) * (static_cast<double>(s_.queries) - 1) / 2;
    const double pairs = static_cast<double>(s_.queries * s_.context) - hidden;
    return 4 * pairs * static_cast<double>(s_.sequences * s_.H * s_.D);
  }

  void verify(Result& r) {
    launch(0);
    machine_.device().synchronize();
    const std::vector<double> y = machine_.read(kType, operands_[0].y.data(), N_ * s_.H * s_.D);
    for (double value : y)
      if (!std::isfinite(value))
        throw Error(ErrorKind::kInternal, r.name + ": an output was not written, or is not finite");
    const int samples = machine_.tiny() ? 4 : 16;
    double largest = 0;
    for (int i = 0; i < samples; i++) {
      const int64_t n = i == 0 ? N_ - 1 : i == 1 ? 0 : pick(N_), h = i == 0 ? s_.H - 1 : pick(s_.H);
      const std::vector<double> expected = row(n, h);
      for (int64_t d = 0; d < s_.D; d++) {
        const double wanted = expected[static_cast<size_t>(d)];
        largest = std::max(largest, std::fabs(wanted));
        r.error = std::max(r.error, std::fabs(y[static_cast<size_t>((n * s_.H + h) * s_.D + d)] - wanted));
      }
    }
    // Roundings of the result and of the weights of values.
    r.error_allowed = largest * 0x1p-6;
    r.verified = std::to_string(samples) + " rows in f64";
  }

  Timing time() {
    return machine_.time(static_cast<int>(operands_.size()), [&](int set) { launch(set); });
  }

 private:
  struct Operands {
    Memory q, cache, y;
  };

  static std::vector<int32_t> multiples(int64_t count, int64_t step) {
    std::vector<int32_t> numbers;
    for (int64_t i = 0; i < count; i++) numbers.push_back(static_cast<int32_t>(i * step));
    return numbers;
  }

  std::vector<int32_t> shuffled_blocks() {
    std::vector<int32_t> blocks(static_cast<size_t>(num_blocks_));
    std::iota(blocks.begin(), blocks.end(), 0);
    for (size_t i = blocks.size() - 1; i > 0; i--)
      std::swap(blocks[i], blocks[static_cast<size_t>(pick(static_cast<int64_t>(i) + 1))]);
    return blocks;
  }

  int64_t pick(int64_t count) {
    return static_cast<int64_t>(machine_.random_unit() * static_cast<double>(count));
  }

  KvCacheLayer layer(const Operands& o) const {
    return {o.cache.data(), num_blocks_, s_.KH, s_.D, kType, KeyLayout::kByPosition};
  }

  void launch(int set) {
    const Operands& o = operands_[static_cast<size_t>(set)];
    Attention a{};
    a.q = o.q.data();
    a.cache = layer(o);
    a.tables = {query_starts_.as<int32_t>(),
                context_lengths_.as<int32_t>(),
                block_tables_.as<int32_t>(),
                N_,
                s_.sequences,
                W_};
    a.y = o.y.data();
    a.H = s_.H;
    a.D = s_.D;
    a.q_stride = a.y_stride = s_.H * s_.D;
    a.scale = scale_;
    a.dtype = kType;
    cuda::Execution e = machine_.execution(&scratch_);
    machine_.check(machine_.kernels().attention(a, e));
  }

  // y[n,h,:] in f64, softmax in two passes.
  std::vector<double> row(int64_t n, int64_t h) {
    const Operands& o = operands_[0];
    const KvCacheLayer cache = layer(o);
    const int64_t s = n / s_.queries, seen = s_.context - s_.queries + n % s_.queries + 1;
    const int64_t head = h / (s_.H / s_.KH), padded = KvCacheLayer::padded(s_.D);
    const std::vector<double> q = machine_.read(kType, o.q.data() + (n * s_.H + h) * s_.D * 2, s_.D);
    std::vector<double> scores, y(static_cast<size_t>(s_.D));
    auto positions = [&](bool keys, const auto& body) {
      for (int64_t p = 0; p < seen; p += kBlockTokens) {
        const int64_t block = table_[static_cast<size_t>(s * W_ + p / kBlockTokens)];
        const std::vector<double> rows = machine_.read(
            kType, keys ? cache.keys(block, head) : cache.values(block, head), kBlockTokens * padded);
        for (int64_t i = 0; i < std::min(kBlockTokens, seen - p); i++) body(p + i, rows.data() + i * padded);
      }
    };
    positions(true, [&](int64_t, const double* k) {
      scores.push_back(std::inner_product(q.begin(), q.end(), k, 0.0) * static_cast<double>(scale_));
    });
    const double most = *std::max_element(scores.begin(), scores.end());
    double total = 0;
    for (double& score : scores) total += score = std::exp(score - most);
    positions(false, [&](int64_t p, const double* v) {
      for (int64_t d = 0; d < s_.D; d++)
        y[static_cast<size_t>(d)] += scores[static_cast<size_t>(p)] / total * v[d];
    });
    return y;
  }

  Machine& machine_;
  const AttentionShape s_;
  const int64_t N_, W_, num_blocks_;
  const float scale_;
  Memory scratch_;
  std::vector<int32_t> table_;
  Memory query_starts_, context_lengths_, block_tables_;
  std::vector<Operands> operands_;
};

}  // namespace

void bench_attention(Machine& machine, const std::string& group, const std::string& name,
                     const AttentionShape& shape) {
  AttentionBench bench(machine, shape);
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

void bench_prefill_attention(Machine& machine, Suite& suite) {
  const int64_t length = machine.tiny() ? 160 : 16'384, H = machine.tiny() ? 2 : 16;
  const std::string tokens = std::to_string(length) + " tokens, " + std::to_string(H) + " heads of ";
  const char* group = "attention over a prompt";
  auto bench = [&](const std::string& name, int64_t KH, int64_t D) {
    suite.run(group, name, [&] { bench_attention(machine, group, name, {1, length, length, H, KH, D}); });
  };
  bench(tokens + "128", H, 128);
  if (!machine.tiny()) bench(tokens + "128, 4 share keys", H / 4, 128);
  bench(tokens + "64", H, 64);
}

}  // namespace kvasir::benchmark
