#pragma once

// A warp routes a row. Then a warp makes one element at a time of h (gate, and up over it) and of y: its lanes take
// groups of 8 columns of a row of the expert's matrix, 32 groups apart, with one partial sum for each place in a group,
// which are added in halves and then across lanes. Between the two, h lies in scratch, f32, a row for every one of a
// row's experts; y adds them in the order in which they were chosen.
//
// Bytes moved: the matrices of a row's experts once for each row. That is as little as can be for single tokens, and much
// for prompts, whose rows share experts.

#include "device/cuda/block-line.cuh"
#include "device/cuda/reduce.cuh"
#include "device/cuda/vector.cuh"
#include "kernels/activation/activation.cuh"
#include "kernels/embedding/embedding.cuh"
#include "kernels/experts/experts.h"
#include "kernels/layer-norm/norm-row.cuh"

namespace kvasir::cuda {

struct ExpertRoutes {
  int32_t* experts;              // (N,k)
  float* weights;                // (N,k)
  float* h;                      // (N,k,F)
  int64_t half_rows, down_rows;  // stacked_rows of F and C
};

// The calling warp's best of the experts that come after (value, index) in descending order of logits, the lower index of
// equal ones; -1 where none does.
template <class T>
__device__ __forceinline__ int next_expert(const T* logits, int E, float value, int index) {
  float best = -INFINITY;
  int found = -1;
  for (int e = static_cast<int>(threadIdx.x); e < E; e += 32) {
    const float logit = to_float(logits[e]);
    const bool after = logit < value || (logit == value && e > index);
    if (after && (found < 0 || logit > best)) best = logit, found = e;
  }
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) {
    const float other = __shfl_xor_sync(kAllLanes, best, offset);
    const int other_found = __shfl_xor_sync(kAllLanes, found, offset);
    const bool better =
        other_found >= 0 && (found < 0 || other > best || (other == best && other_found < found));
    if (better) best = other, found = other_found;
  }
  return found;
}

template <class T>
__global__ void __launch_bounds__(32) route_kernel(Experts p, ExpertRoutes routes) {
  ptx::let_successor_start();
  ptx::wait_for_predecessor();
  const int64_t n = blockIdx.x;
  const int E = static_cast<int>(p.E), k = static_cast<int>(p.k), lane = static_cast<int>(threadIdx.x);
  const T* logits = static_cast<const T*>(p.logits) + n * p.logits_stride;
  float value = INFINITY, largest = 0.0f, chosen = 0.0f, all = 0.0f;
  int index = -1;
  for (int j = 0; j < k; j++) {
    index = next_expert(logits, E, value, index);
    value = index < 0 ? __uint_as_float(0x7fc00000u) : to_float(logits[index]);
    if (index < 0) index = j;
    if (j == 0) largest = value;
    const float weight = exponential(difference(value, largest));
    chosen = sum(chosen, weight);
    if (lane == 0) {
      routes.experts[n * k + j] = index;
      routes.weights[n * k + j] = weight;
    }
  }
  if (!p.normalised) {
    for (int e = lane; e < E; e += 32) all = sum(all, exponential(difference(to_float(logits[e]), largest)));
    all = warp_sum(all);
  }
  if (lane != 0) return;
  for (int j = 0; j < k; j++) routes.weights[n * k + j] /= p.normalised ? chosen : all;
}

// Numbers of a stack of matrices in tiles: of a type W, or in blocks.
template <class W_>
struct StackOfNumbers {
  static __device__ __forceinline__ void load(const void* stack, int64_t K, int64_t row, int64_t c,
                                              float (&x)[kGroup]) {
    constexpr int64_t kColumns = kTileRowBytes / sizeof(W_);
    load_tile_group(static_cast<const W_*>(stack), (K + kColumns - 1) / kColumns, row, c, x);
  }
};
template <DType kType>
struct StackOfBlocks {
  static __device__ __forceinline__ void load(const void* stack, int64_t K, int64_t row, int64_t c,
                                              float (&x)[kGroup]) {
    const int64_t tile =
        row / kTileRows * ((K + kTileBlockColumns - 1) / kTileBlockColumns) + c / kTileBlockColumns;
    const char* line =
        static_cast<const char*>(stack) + tile * kBlockTileBytes<kType> + row % kTileRows * kLineBytes<kType>;
    load_eight<kType>(line, static_cast<int>(c % kTileBlockColumns) / kGroup, x);
  }
};

// sum_c x[c] W[row,c] by a warp; every lane gets it.
template <class Stack, class X>
__device__ __forceinline__ float expert_product(const X* x, const void* stack, int64_t K, int64_t row) {
  float sums[kGroup] = {};
  for (int64_t c = static_cast<int64_t>(threadIdx.x) * kGroup; c < K; c += 32 * kGroup) {
    float a[kGroup], w[kGroup];
    load_group(x + c, K - c, a);  // zeros beyond K, where a tile has any numbers
    Stack::load(stack, K, row, c, w);
#pragma unroll
    for (int i = 0; i < kGroup; i++) sums[i] = c + i < K ? fmaf(a[i], w[i], sums[i]) : sums[i];
  }
  return lane_groups_sum(sums);
}

constexpr int kExpertWarps = 8;

// One half of h: act(G x), or h times U x.
template <class T, class Stack, bool kUp>
__global__ void __launch_bounds__(32 * kExpertWarps) expert_half_kernel(Experts p, ExpertRoutes routes) {
  ptx::let_successor_start();
  ptx::wait_for_predecessor();
  const int64_t slot = blockIdx.y, f = static_cast<int64_t>(blockIdx.x) * kExpertWarps + threadIdx.y;
  if (f >= p.F) return;
  const T* x = static_cast<const T*>(p.x) + slot / p.k * p.x_stride;
  const int64_t row = routes.experts[slot] * routes.half_rows + f;
  const float result = expert_product<Stack>(x, kUp ? p.up : p.gate, p.C, row);
  if (threadIdx.x != 0) return;
  float* h = routes.h + slot * p.F + f;
  *h = kUp ? product(*h, result) : activate(p.activation, result);
}

template <class T, class Stack>
__global__ void __launch_bounds__(32 * kExpertWarps) expert_down_kernel(Experts p, ExpertRoutes routes) {
  ptx::let_successor_start();
  ptx::wait_for_predecessor();
  const int64_t n = blockIdx.y, c = static_cast<int64_t>(blockIdx.x) * kExpertWarps + threadIdx.y;
  if (c >= p.C) return;
  float y = 0.0f;
  for (int64_t slot = n * p.k; slot < (n + 1) * p.k; slot++) {
    const int64_t row = routes.experts[slot] * routes.down_rows + c;
    y = fmaf(routes.weights[slot], expert_product<Stack>(routes.h + slot * p.F, p.down, p.F, row), y);
  }
  if (threadIdx.x == 0) static_cast<T*>(p.y)[n * p.y_stride + c] = from_float<T>(y);
}

// f(stack) for how a matrix of `dtype` is read beside activations of T.
template <class T, class F>
void with_stack(DType dtype, const F& f) {
  if (is_blocked(dtype)) return with_block_type(dtype, [&](auto type) { f(StackOfBlocks<type.value>{}); });
  if constexpr (std::is_same_v<T, float>) {
    with_type(dtype, [&](auto w) { f(StackOfNumbers<decltype(w)>{}); });
  } else {
    f(StackOfNumbers<T>{});
  }
}

template <class T>
void launch_experts(const Experts& p, Execution& e) {
  constexpr int64_t kMostRows = 65535;  // of a grid
  const int64_t slots = p.N * p.k;
  if (p.N == 0) return;
  if (slots > kMostRows) throw Error(ErrorKind::kInternal, "experts: too many rows for one grid");
  ExpertRoutes routes{};
  routes.experts = reinterpret_cast<int32_t*>(e.scratch);
  routes.weights = reinterpret_cast<float*>(e.scratch + experts_region(slots));
  routes.h = reinterpret_cast<float*>(e.scratch + 2 * experts_region(slots));
  routes.half_rows = stacked_rows(p.F);
  routes.down_rows = stacked_rows(p.C);
  const auto grid = [](int64_t elements, int64_t rows) {
    return dim3(static_cast<unsigned>((elements + kExpertWarps - 1) / kExpertWarps),
                static_cast<unsigned>(rows));
  };
  const dim3 block(32, kExpertWarps);
  launch(e, route_kernel<T>, {dim3(static_cast<unsigned>(p.N)), dim3(32)}, p, routes);
  with_stack<T>(p.gate_dtype, [&](auto s) {
    launch(e, expert_half_kernel<T, decltype(s), false>, {grid(p.F, slots), block}, p, routes);
  });
  with_stack<T>(p.up_dtype, [&](auto s) {
    launch(e, expert_half_kernel<T, decltype(s), true>, {grid(p.F, slots), block}, p, routes);
  });
  with_stack<T>(p.down_dtype, [&](auto s) {
    launch(e, expert_down_kernel<T, decltype(s)>, {grid(p.C, p.N), block}, p, routes);
  });
}

}  // namespace kvasir::cuda
