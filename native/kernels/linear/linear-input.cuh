#pragma once

// Rows of x in shared memory, for kernels that keep all of them there: rows `pitch` elements apart, zeros
// from K to the end of the last tile of columns. With a norm they are normalised in place, by the norm's own
// functions, and rounded to T: as its kernel would have left them. All threads of a block work together.

#include "device/cuda/cuda.h"
#include "device/cuda/vector.cuh"
#include "kernels/layer-norm/layer-norm.cuh"
#include "kernels/linear/linear-variants.cuh"
#include "kernels/rms-norm/rms-norm.cuh"

namespace kvasir::cuda {

constexpr int kInputMaxRows = 16;

template <class T>
struct InputRows {
  T* rows;
  int pitch;  // elements, whole pieces of 16 bytes
  int count;  // of rows, at most kInputMaxRows
  int K;
  int columns;  // K and the zeros behind it, a multiple of 8
};

// Pieces of 16 bytes, where all rows are aligned and K is whole pieces: several on their way at a time. Not
// asynchronously: such copies would be waited for together with the weights that were asked for before.
template <class T>
__device__ __forceinline__ void copy_pieces(const InputRows<T>& to, const T* x, int64_t stride) {
  constexpr int kPiece = 16 / static_cast<int>(sizeof(T)), kAtOnce = 8;
  const int step = static_cast<int>(blockDim.x) * kPiece;
  int m = 0, c = static_cast<int>(threadIdx.x) * kPiece;
  const auto next_row = [&] {
    for (; c >= to.columns; c -= to.columns) m++;
  };
  next_row();
  while (m < to.count) {
    uint4 pieces[kAtOnce];
    int places[kAtOnce];
#pragma unroll
    for (int i = 0; i < kAtOnce; i++) {
      places[i] = m < to.count ? m * to.pitch + c : -1;
      pieces[i] = make_uint4(0, 0, 0, 0);
      if (m < to.count && c < to.K) pieces[i] = *reinterpret_cast<const uint4*>(x + m * stride + c);
      c += step;
      next_row();
    }
#pragma unroll
    for (int i = 0; i < kAtOnce; i++)
      if (places[i] >= 0) *reinterpret_cast<uint4*>(to.rows + places[i]) = pieces[i];
  }
}

template <class T>
__device__ __forceinline__ void copy_rows(const InputRows<T>& to, const T* x, int64_t stride) {
  constexpr int kPiece = 16 / static_cast<int>(sizeof(T));
  if (is_aligned(x) && stride % kPiece == 0 && to.K % kPiece == 0) return copy_pieces(to, x, stride);
  for (int m = 0; m < to.count; m++)
#pragma unroll 4
    for (int c = static_cast<int>(threadIdx.x); c < to.columns; c += static_cast<int>(blockDim.x))
      to.rows[m * to.pitch + c] = c < to.K ? x[m * stride + c] : T{};
}

// The norm's weight and bias, (2,columns), which no kernel writes: before wait_for_predecessor.
__device__ __forceinline__ void copy_norm_parameters(const LinearInput& input, int K, int columns,
                                                     float* parameters) {
  const float* const sources[2] = {input.norm_weight, input.norm_bias};
  for (int i = 0; i < 2; i++) {
    const InputRows<float> to{parameters + i * columns, columns, 1, K, columns};
    if (sources[i] != nullptr) {
      copy_rows(to, sources[i], 0);
    } else {
      const float absent = i == 0 ? 1.0f : -0.0f;
      for (int c = static_cast<int>(threadIdx.x); c < columns; c += static_cast<int>(blockDim.x))
        to.rows[c] = absent;
    }
  }
}

// statistics(row) by a warp for each row, then value(s, statistics, weight, bias) for each element.
template <class T, class Statistics, class Value>
__device__ __forceinline__ void normalise(const InputRows<T>& x, const float* parameters,
                                          const Statistics& statistics_of, const Value& value) {
  using Row = decltype(statistics_of(NormRow<T>{}));
  __shared__ Row statistics[kInputMaxRows];
  for (int m = static_cast<int>(threadIdx.x) / 32; m < x.count; m += static_cast<int>(blockDim.x) / 32) {
    const Row row = statistics_of(NormRow<T>{x.rows + m * x.pitch, nullptr, x.K});
    if (threadIdx.x % 32 == 0) statistics[m] = row;
  }
  __syncthreads();
  for (int c = static_cast<int>(threadIdx.x) * kGroup; c < x.K; c += static_cast<int>(blockDim.x) * kGroup) {
    float weight[kGroup], bias[kGroup];
    load_group(parameters + c, WholeGroup{}, weight);
    load_group(parameters + x.columns + c, WholeGroup{}, bias);
#pragma unroll 2
    for (int m = 0; m < x.count; m++) {
      T* p = x.rows + m * x.pitch + c;
      float s[kGroup];
      load_group(p, WholeGroup{}, s);
      const Row row = statistics[m];
#pragma unroll
      for (int i = 0; i < kGroup; i++) s[i] = c + i < x.K ? value(s[i], row, weight[i], bias[i]) : 0.0f;
      store_group(p, WholeGroup{}, s);
    }
  }
}

// The rows of the input from row m on.
template <class T>
__device__ __forceinline__ void load_input(const LinearInput& input, int m, const InputRows<T>& to,
                                           const float* parameters) {
  copy_rows(to, static_cast<const T*>(input.x) + m * input.stride, input.stride);
  __syncthreads();
  if (input.norm == InputNorm::kNone) return;
  if (input.norm == InputNorm::kRms) {
    normalise(
        to, parameters, [&](const NormRow<T>& row) { return rms_norm_statistics(row, input.epsilon); },
        [](float s, const RmsNormStatistics& row, float weight, float) {
          return rms_norm_value(s, row, weight);
        });
  } else {
    normalise(
        to, parameters, [&](const NormRow<T>& row) { return layer_norm_statistics(row, input.epsilon); },
        [](float s, const LayerNormStatistics& row, float weight, float bias) {
          return layer_norm_value(s, row, weight, bias);
        });
  }
  __syncthreads();
}

}  // namespace kvasir::cuda
