#pragma once

// A linear layer of a single row, 16-bit: linear-stream.cuh without anything that only several rows need. With
// one row the weights of most layers are on their way, or there, before the kernel's predecessor has ended, and
// what counts is how long it takes from then to the outputs. So:
//
//   - A warp brings the columns of x that its own run needs, past no barrier of the block. With a norm each
//     warp finds the row's statistics, all of it in registers, for itself.
//   - Everything that no kernel before this one writes (the norm's parameters, biases) is read before.
//   - Outputs are finished by a thread each.
//
// Shared memory: the rings; for each warp its columns of x; two sets of the runs' sums.

#include "kernels/linear/linear-stream.cuh"

namespace kvasir::cuda {

// Pieces of 8 columns that a lane can hold, of a row with a norm, and of its run without one.
constexpr int kRowMaxHeld = 8;
constexpr int kRowMaxOwn = 4;

// A warp's part of the row: columns first to first + count - 1 to shared memory, zeros from K on. K is whole
// pieces, and x aligned.
template <class T>
struct RowPart {
  T* to;
  int first, count, K;

  __device__ __forceinline__ int column(int i, int lane) const { return (i * 32 + lane) * kGroup; }
  __device__ __forceinline__ bool has(int i, int lane) const { return column(i, lane) < count; }
  __device__ __forceinline__ bool exists(int i, int lane) const {
    return has(i, lane) && first + column(i, lane) < K;
  }
};

template <class T>
__device__ __forceinline__ void copy_part(const RowPart<T>& part, const T* x, int lane) {
  uint4 pieces[kRowMaxOwn];
#pragma unroll
  for (int i = 0; i < kRowMaxOwn; i++) {
    pieces[i] = make_uint4(0, 0, 0, 0);
    if (part.exists(i, lane))
      pieces[i] = *reinterpret_cast<const uint4*>(x + part.first + part.column(i, lane));
  }
#pragma unroll
  for (int i = 0; i < kRowMaxOwn; i++)
    if (part.has(i, lane)) *reinterpret_cast<uint4*>(part.to + part.column(i, lane)) = pieces[i];
}

// A row with a norm is so short that a lane has one piece of its run at most: linear_run_columns(K) <= 256.
constexpr int64_t kRowMaxNormColumns = kRowMaxHeld * 256;

// The norm's parameters of that piece.
struct RowParameters {
  float weight[kGroup], bias[kGroup];

  template <class T>
  __device__ __forceinline__ void load(const LinearInput& input, const RowPart<T>& part, int lane) {
    const int c = part.first + part.column(0, lane), count = part.exists(0, lane) ? part.K - c : 0;
    load_parameters(input.norm_weight, c, count, 1.0f, weight);
    load_parameters(input.norm_bias, c, count, -0.0f, bias);
  }
};

template <class T>
__device__ __forceinline__ void normalise_part(const RowPart<T>& part, const LinearInput& input,
                                               const RowParameters& parameters, const T* x, int lane) {
  const bool mine = part.exists(0, lane);
  const HeldRow<T, kRowMaxHeld> row(x, part.K, lane);
  float s[kGroup] = {};
  if (mine) load_whole(x + part.first + part.column(0, lane), s);
  if (input.norm == InputNorm::kRms) {
    const RmsNormStatistics statistics = rms_norm_statistics(row, input.epsilon);
#pragma unroll
    for (int i = 0; i < kGroup; i++) s[i] = rms_norm_value(s[i], statistics, parameters.weight[i]);
  } else {
    const LayerNormStatistics statistics = layer_norm_statistics(row, input.epsilon);
#pragma unroll
    for (int i = 0; i < kGroup; i++)
      s[i] = layer_norm_value(s[i], statistics, parameters.weight[i], parameters.bias[i]);
  }
#pragma unroll
  for (int i = 0; i < kGroup; i++) s[i] = mine ? s[i] : 0.0f;
  if (part.has(0, lane)) store_whole(part.to + part.column(0, lane), s);
}

// An output of a block, and where its sums are. Gated: of its gate, 8 before that of its up.
struct RowOutput {
  int n, row;

  __device__ __forceinline__ RowOutput(const LinearOutput& out, int first_row, int rows, int i)
      : n(static_cast<int>(output_of_row(out.gated, first_row)) + i),
        row(out.gated ? i / 8 * 16 + i % 8 : i) {
    if (i >= (out.gated ? rows / 2 : rows)) n = out.N;
  }
};

// What is added to the sums of an output. Biases may be read at any time, the residual as x.
struct RowAddends {
  float bias = -0.0f, up_bias = -0.0f, residual = -0.0f;

  __device__ __forceinline__ void load_bias(const LinearOutput& out, int n) {
    if (n >= out.N || out.bias == nullptr) return;
    bias = out.bias[n];
    if (out.gated) up_bias = out.up_bias[n];
  }
  template <class T>
  __device__ __forceinline__ void load_residual(const LinearOutput& out, int n) {
    if (n >= out.N || out.residual == nullptr) return;
    residual = out.f32 ? static_cast<const float*>(out.residual)[n]
                       : to_float(static_cast<const T*>(out.residual)[n]);
  }
};

template <class T>
__device__ __forceinline__ void finish_output(const LinearOutput& out, const RowOutput& output,
                                              const float* sums, int runs, int step, const RowAddends& add) {
  if (output.n >= out.N) return;
  const auto total = [&](const float* p) {
    float v = *p;
#pragma unroll
    for (int i = 1; i < static_cast<int>(kLinearMaxRuns); i++)
      if (i < runs) v = sum(v, p[i * step]);
    return v;
  };
  float v = activate(out.activation, sum(total(sums + output.row), add.bias));
  if (out.gated) v = product(v, sum(total(sums + output.row + 8), add.up_bias));
  v = sum(v, add.residual);
  if (out.f32) {
    static_cast<float*>(out.y)[output.n] = v;
  } else {
    static_cast<T*>(out.y)[output.n] = from_float<T>(v);
  }
}

// With a norm, the row and the norm's parameters take registers.
template <class Team, bool kNorm>
constexpr int kRowResidentBlocks = kNorm ? 2 : Team::kResidentBlocks;

template <class Team, bool kNorm>
__global__ void __launch_bounds__(kStreamMaxThreads, kRowResidentBlocks<Team, kNorm>)
    linear_row_kernel(const __grid_constant__ StreamPlan plan, const __grid_constant__ LinearInput input,
                      const __grid_constant__ LinearOutput out) {
  using T = typename Team::T;
  ptx::let_successor_start();
  char* shared = dynamic_shared<char>();
  const int thread = static_cast<int>(threadIdx.x), warp = thread / 32, lane = thread % 32;
  const int run = warp % plan.runs, group = warp / plan.runs, rows = plan.item_groups * Team::kStoredRows;
  WeightStream<Team> weights(plan, group, run, lane, warp * kRingBytes<Team>);

  const int run_columns = plan.run_tiles * Team::kColumns;
  const RowPart<T> part{reinterpret_cast<T*>(shared + plan.x) + warp * run_columns, weights.column(),
                        weights.tiles() * Team::kColumns, plan.K};
  RowOutput output(out, static_cast<int>(blockIdx.x) * rows, rows, thread);
  RowAddends add;
  add.load_bias(out, output.n);
  const T* x = static_cast<const T*>(input.x);
  if constexpr (kNorm) {
    RowParameters parameters;
    parameters.load(input, part, lane);
    ptx::wait_for_predecessor();
    add.template load_residual<T>(out, output.n);
    normalise_part(part, input, parameters, x, lane);
  } else {
    ptx::wait_for_predecessor();
    add.template load_residual<T>(out, output.n);
    copy_part(part, x, lane);
  }
  __syncwarp();

  Team team({part.to, 0, 1}, lane);
  float* sums = reinterpret_cast<float*>(shared + plan.sums);
  int other = rows * plan.runs;  // from these sums to the other set
#pragma unroll 1
  for (int item = static_cast<int>(blockIdx.x); item < plan.items; item += static_cast<int>(gridDim.x)) {
    if (item != static_cast<int>(blockIdx.x)) {
      output = RowOutput(out, item * rows, rows, thread);
      add = {};
      add.load_bias(out, output.n);
      add.template load_residual<T>(out, output.n);
    }
    team.begin();
#pragma unroll 1
    for (int t = 0; t < plan.run_tiles; t++) {
      const char* piece = weights.take();
      if (t < weights.tiles()) team.multiply(piece, t * Team::kColumns);
      __syncwarp();
      weights.fetch();
    }
    team.store(sums + run * rows + group * Team::kStoredRows, 0, 1, lane);
    __syncthreads();
    finish_output<T>(out, output, sums, plan.runs, rows, add);
    sums += other;
    other = -other;
  }
}

}  // namespace kvasir::cuda
