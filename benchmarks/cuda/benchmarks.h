#pragma once

#include <functional>
#include <string>
#include <utility>

#include "machine.h"

namespace kvasir::benchmark {

// Runs benchmarks whose `group: name` holds a text, one after another: what one throws is told on stderr.
class Suite {
 public:
  explicit Suite(std::string filter) : filter_(std::move(filter)) {}

  void run(const std::string& group, const std::string& name, const std::function<void()>& benchmark);
  int failures() const { return failures_; }

 private:
  std::string filter_;
  int failures_ = 0;
};

// Each of these verifies before it times, and throws Error(kInternal) where a result is wrong.

// Matrix products: large ones, and those of the 1B model with few rows.
void bench_products(Machine& machine, Suite& suite);
// The kernels of a decode step of the 1B model, each alone.
void bench_decode_kernels(Machine& machine, Suite& suite);
// Attention over a long prompt.
void bench_prefill_attention(Machine& machine, Suite& suite);
// From one kernel to the next, where neither has anything to do.
void bench_gaps(Machine& machine, Suite& suite);
// Whole models from `programs`, a file of scripts/write-vectors.mjs.
void bench_models(Machine& machine, Suite& suite, const std::string& programs);

// A linear layer, alone or behind an RMSNorm in the same kernel.
struct LinearShape {
  int64_t M, N, K;
  bool gated = false, residual = false, norm = false;
  Activation activation = Activation::kNone;
  DType y_dtype = DType::kBF16;
};
void bench_linear(Machine& machine, const std::string& group, const std::string& name,
                  const LinearShape& shape);

// Attention of sequences over a cache that is full of random keys and values.
struct AttentionShape {
  int64_t sequences, queries, context;  // of each sequence; the queries are its last
  int64_t H, KH, D;
};
void bench_attention(Machine& machine, const std::string& group, const std::string& name,
                     const AttentionShape& shape);

// Throws where `r.error` is more than it may be.
void check_error(const Result& r);

}  // namespace kvasir::benchmark
