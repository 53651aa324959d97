#pragma once

// From a warpgroup's totals to its place in shared memory: what linear-epilogue.cuh does, in the registers of wgmma.

#include "kernels/linear/linear-hopper-block.cuh"

namespace kvasir::cuda {

// Of one thread, 0 to 127, of a multiplying warpgroup. It has the stored rows `lane / 4` and 8 more of its warp's
// 16: two outputs, or, gated, the gate and the up of one.
template <class T, class Y, int kTokens>
struct HopperOutputs : HopperBlock<T, Y, kTokens> {
  using Tile = HopperTile<T, Y, kTokens>;
  int warpgroup, warp, lane;
  bool add;     // there is a residual
  float2 bias;  // of the two stored rows

  __device__ __forceinline__ HopperOutputs(const HopperProblem& problem, TilePlace tile, int warpgroup,
                                           int thread)
      : HopperBlock<T, Y, kTokens>{problem},
        warpgroup(warpgroup),
        warp(thread / 32),
        lane(thread % 32),
        add(problem.out.residual != nullptr),
        bias(make_float2(-0.0f, -0.0f)) {
    const LinearOutput& out = problem.out;
    const int64_t n = this->first_output(tile, warpgroup) + first_output_of_thread();
    const int64_t second = out.gated ? n : n + 8;
    if (out.bias != nullptr && n < out.N) bias.x = out.bias[n];
    if (out.bias != nullptr && second < out.N) bias.y = out.gated ? out.up_bias[n] : out.bias[second];
  }

  __device__ __forceinline__ int first_output_of_thread() const {
    return warp * (this->p.out.gated ? 8 : 16) + lane / 4;
  }

  template <int kCount>
  __device__ __forceinline__ void activate_all(float (&v)[kCount]) const {
    const auto all = [&](auto f) {
#pragma unroll
      for (int i = 0; i < kCount; i++) v[i] = f(v[i]);
    };
    switch (this->p.out.activation) {
      case Activation::kNone:
        return;
      case Activation::kRelu:
        return all([](float x) { return relu(x); });
      case Activation::kGelu:
        return all([](float x) { return gelu(x); });
      case Activation::kGeluTanh:
        return all([](float x) { return gelu_tanh(x); });
      case Activation::kSilu:
        return all([](float x) { return silu(x); });
    }
  }

  // One output of a token: the residual that lies in its place is added, and y left there.
  __device__ __forceinline__ void exchange(int token, int output, float v) const {
    const int piece = output / Tile::kPieceElements ^ token % 8;
    Y* element = reinterpret_cast<Y*>(this->place(warpgroup) + token * Tile::kPlaceRowBytes + piece * 16) +
                 output % Tile::kPieceElements;
    if (add) v = sum(v, to_float(*element));
    *element = from_float<Y>(v);
  }

  // The same for the warp's 16 outputs of 16 tokens, as four matrices of 16-bit numbers.
  __device__ __forceinline__ void exchange_matrices(int token0, const float (&v)[8]) const {
    const int token = token0 + lane / 16 * 8 + lane % 8, piece = warp * 2 + lane / 8 % 2;
    const uint32_t at = ptx::shared_address(this->place(warpgroup)) + place_of_piece(token, piece);
    uint32_t pairs[4];
    if (add) ptx::ldmatrix_x4_trans(pairs, at);
#pragma unroll
    for (int i = 0; i < 4; i++) {
      const float2 residual = add ? unpack2<Y>(pairs[i]) : make_float2(-0.0f, -0.0f);
      pairs[i] = pack2<Y>(sum(v[2 * i], residual.x), sum(v[2 * i + 1], residual.y));
    }
    ptx::stmatrix_x4_trans(at, pairs);
  }

  // 16 tokens by the warp's 16 stored rows. v[4i + 2j + k]: token 8i + 2 (lane % 4) + k, stored row lane / 4 + 8j.
  template <bool kActivates>
  __device__ __forceinline__ void finish_plain(int token0, float (&v)[8]) const {
#pragma unroll
    for (int i = 0; i < 8; i++) v[i] = sum(v[i], i / 2 % 2 == 0 ? bias.x : bias.y);
    if constexpr (kActivates) activate_all(v);
    if constexpr (sizeof(Y) == 2) {
      exchange_matrices(token0, v);
    } else {
      const int token = token0 + lane % 4 * 2, output = warp * 16 + lane / 4;
#pragma unroll
      for (int i = 0; i < 8; i++) exchange(token + i / 4 * 8 + i % 2, output + i / 2 % 2 * 8, v[i]);
    }
  }

  __device__ __forceinline__ void finish_gated(int token0, const float (&v)[8]) const {
    const int token = token0 + lane % 4 * 2, output = warp * 8 + lane / 4;
    float gate[4];
#pragma unroll
    for (int i = 0; i < 4; i++) gate[i] = sum(v[i / 2 * 4 + i % 2], bias.x);
    activate_all(gate);
#pragma unroll
    for (int i = 0; i < 4; i++) {
      const float up = sum(v[i / 2 * 4 + 2 + i % 2], bias.y);
      exchange(token + i / 2 * 8 + i % 2, output, product(gate[i], up));
    }
  }

  // v = the thread's totals of tokens 16i to 16i + 15. Registers have no index: branches find them.
  template <int kFirst, int kLast>
  static __device__ __forceinline__ void pick(const float (&totals)[kTokens / 2], int i, float (&v)[8]) {
    if constexpr (kFirst == kLast) {
#pragma unroll
      for (int k = 0; k < 8; k++) v[k] = totals[8 * kFirst + k];
    } else {
      constexpr int kMiddle = (kFirst + kLast) / 2;
      if (i <= kMiddle) {
        pick<kFirst, kMiddle>(totals, i, v);
      } else {
        pick<kMiddle + 1, kLast>(totals, i, v);
      }
    }
  }

  // All of a tile, unrolled where that is little code.
  __device__ __forceinline__ void finish(const float (&totals)[kTokens / 2]) const {
    float v[8];
    if (!this->p.out.gated && this->p.out.activation == Activation::kNone) {
#pragma unroll
      for (int i = 0; i < kTokens / 16; i++) {
#pragma unroll
        for (int k = 0; k < 8; k++) v[k] = totals[8 * i + k];
        finish_plain<false>(16 * i, v);
      }
      return;
    }
#pragma unroll 1
    for (int i = 0; i < kTokens / 16; i++) {
      pick<0, kTokens / 16 - 1>(totals, i, v);
      if (this->p.out.gated) {
        finish_gated(16 * i, v);
      } else {
        finish_plain<true>(16 * i, v);
      }
    }
  }
};

}  // namespace kvasir::cuda
