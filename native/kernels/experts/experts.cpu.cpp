// Rows are routed first, and put in the order of their experts. Then each expert that has rows takes all of them at
// once: their x is gathered, goes through three linear layers, and what comes out is added to their y. An expert's
// weights are read once a step; experts are taken in ascending order, so that a row's sum does not depend on its company.

#include "kernels/experts/experts.h"

#include "device/cpu/rows.h"
#include "kernels/linear/linear.h"
#include "types/panels.h"

namespace kvasir::KVASIR_ISA {

LinearKernel linear;

namespace {

struct Routes {
  int32_t* experts;  // (N,k)
  float* weights;    // (N,k)
  int32_t* order;    // (N*k): slots n * k + j, expert after expert
  int32_t* starts;   // (E+1): where an expert's slots begin in order
};

struct Buffers {
  float *x, *gate, *up, *y;  // of one expert's rows
  std::byte* linear;
};

template <typename T>
T* take(std::byte*& memory, int64_t elements) {
  T* region = reinterpret_cast<T*>(memory);
  memory += experts_region(elements);
  return region;
}

// The expert that comes after (`value`, `index`) in descending order of logits; -1 where none does, as none is above NaN.
int64_t next_expert(const float* logits, int64_t E, float value, int64_t index) {
  int64_t best = -1;
  for (int64_t e = 0; e < E; e++) {
    const bool after = logits[e] < value || (logits[e] == value && e > index);
    if (after && (best < 0 || logits[e] > logits[best])) best = e;
  }
  return best;
}

void route_row(const Experts& p, const Routes& routes, int64_t n) {
  const float* logits = floats(p.logits) + n * p.logits_stride;
  int32_t* experts = routes.experts + n * p.k;
  float* weights = routes.weights + n * p.k;
  float value = __builtin_inff();
  int64_t index = -1;
  for (int64_t j = 0; j < p.k; j++) {
    index = next_expert(logits, p.E, value, index);
    value = index < 0 ? __builtin_nanf("") : logits[index];
    if (index < 0) index = j;
    experts[j] = static_cast<int32_t>(index);
    weights[j] = value;
  }
  const float* counted = p.normalised ? weights : logits;
  const Vec largest = broadcast(weights[0]);
  const Vec total = sum_vectors(p.normalised ? p.k : p.E, zero(), [&](int64_t i, auto lanes) {
    return keep(exp(load(counted + i, lanes) - largest), lanes, zero());
  });
  const Vec scale = broadcast(1.0f / reduce_add(total));
  for_each_vector(p.k, [&](int64_t j, auto lanes) {
    store(weights + j, exp(load(weights + j, lanes) - largest) * scale, lanes);
  });
}

void sort_by_expert(const Experts& p, const Routes& routes) {
  for (int64_t e = 0; e <= p.E; e++) routes.starts[e] = 0;
  for (int64_t slot = 0; slot < p.N * p.k; slot++) routes.starts[routes.experts[slot] + 1]++;
  for (int64_t e = 0; e < p.E; e++) routes.starts[e + 1] += routes.starts[e];
  for (int64_t slot = 0; slot < p.N * p.k; slot++)
    routes.order[routes.starts[routes.experts[slot]]++] = static_cast<int32_t>(slot);
  for (int64_t e = p.E; e > 0; e--) routes.starts[e] = routes.starts[e - 1];
  routes.starts[0] = 0;
}

// y (M,outputs) of expert e's matrix.
void multiply(const float* x, int64_t inputs, const void* stack, DType dtype, int64_t e, int64_t outputs,
              float* y, int64_t M, Activation activation, Execution& execution) {
  const int64_t panels = stacked_rows(outputs) / kPanelRows;
  Linear l{};
  l.x = x;
  l.weight = static_cast<const std::byte*>(stack) + e * panels * panel_bytes(dtype, inputs);
  l.y = y;
  l.M = M, l.N = outputs, l.K = inputs;
  l.x_stride = inputs, l.y_stride = outputs;
  l.weight_dtype = dtype;
  l.activation = activation;
  linear(l, execution);
}

void copy_row(const float* from, float* to, int64_t count) {
  for_each_vector(count, [&](int64_t c, auto lanes) { store(to + c, load(from + c, lanes), lanes); });
}

void run_expert(const Experts& p, const Routes& routes, const Buffers& b, int64_t e, Execution& execution) {
  const int32_t* slots = routes.order + routes.starts[e];
  const int64_t M = routes.starts[e + 1] - routes.starts[e];
  parallel_rows(execution, M, p.C, [&](int64_t i, int) {
    copy_row(floats(p.x) + slots[i] / p.k * p.x_stride, b.x + i * p.C, p.C);
  });
  Execution inner{execution.pool, b.linear, execution.abort, execution.preferences};
  multiply(b.x, p.C, p.gate, p.gate_dtype, e, p.F, b.gate, M, p.activation, inner);
  multiply(b.x, p.C, p.up, p.up_dtype, e, p.F, b.up, M, Activation::kNone, inner);
  parallel_pieces(execution, M, p.F, [&](int64_t i, int64_t f, int64_t count) {
    float* gate = b.gate + i * p.F + f;
    const float* up = b.up + i * p.F + f;
    for_each_vector(count, [&](int64_t c, auto lanes) {
      store(gate + c, load(gate + c, lanes) * load(up + c, lanes), lanes);
    });
  });
  multiply(b.gate, p.F, p.down, p.down_dtype, e, p.C, b.y, M, Activation::kNone, inner);
  parallel_rows(execution, M, p.C, [&](int64_t i, int) {
    const Vec weight = broadcast(routes.weights[slots[i]]);
    float* y = floats(p.y) + slots[i] / p.k * p.y_stride;
    const float* result = b.y + i * p.C;
    for_each_vector(p.C, [&](int64_t c, auto lanes) {
      store(y + c, fma(weight, load(result + c, lanes), load(y + c, lanes)), lanes);
    });
  });
}

}  // namespace

void experts(const Experts& p, Execution& execution) {
  std::byte* memory = execution.scratch;
  const int64_t slots = p.N * p.k;
  const Routes routes{take<int32_t>(memory, slots), take<float>(memory, slots), take<int32_t>(memory, slots),
                      take<int32_t>(memory, p.E + 1)};
  Buffers b{};
  b.x = take<float>(memory, p.N * p.C);
  b.y = take<float>(memory, p.N * p.C);
  b.gate = take<float>(memory, p.N * p.F);
  b.up = take<float>(memory, p.N * p.F);
  b.linear = memory;
  parallel_rows(execution, p.N, p.E * p.k, [&](int64_t n, int) {
    route_row(p, routes, n);
    float* y = floats(p.y) + n * p.y_stride;
    for_each_vector(p.C, [&](int64_t c, auto lanes) { store(y + c, zero(), lanes); });
  });
  if (execution.aborted()) return;  // routes may be missing
  sort_by_expert(p, routes);
  for (int64_t e = 0; e < p.E && !execution.aborted(); e++)
    if (routes.starts[e + 1] > routes.starts[e]) run_expert(p, routes, b, e, execution);
}

}  // namespace kvasir::KVASIR_ISA
