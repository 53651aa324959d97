#pragma once

#include <string>

#include "machine.h"

namespace kvasir::benchmark {

// Each verifies before it times, and throws Error(kInternal) where a result is wrong. `wanted` tells by a name
// whether to run.
struct Selection {
  std::string filter;
  bool operator()(const std::string& group, const std::string& name) const {
    return (group + ": " + name).find(filter) != std::string::npos;
  }
};

// Matrix products: large ones, and those of the 1B model with few rows.
void bench_products(Machine& machine, const Selection& wanted);
// The kernels of a decode step of the 1B model, each alone.
void bench_decode_kernels(Machine& machine, const Selection& wanted);
// Attention over a long prompt.
void bench_prefill_attention(Machine& machine, const Selection& wanted);
// From one kernel to the next, where neither has anything to do.
void bench_gaps(Machine& machine, const Selection& wanted);
// Whole models from `programs`, a file of scripts/write-vectors.mjs.
void bench_models(Machine& machine, const Selection& wanted, const std::string& programs);

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
