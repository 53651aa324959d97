#pragma once

// Who multiplies a few rows of x with the weights that stream past: teams of lanes, each with the sums of one
// group of stored rows over one run of columns. A team takes pieces of weights, kLineBytes of each of its
// rows, in ascending order. x is in shared memory.

#include "device/cuda/cuda.h"
#include "types/tiles.h"

namespace kvasir::cuda {

// Where a team finds the rows of x, and how many exist.
template <class T>
struct TeamInput {
  const T* rows;
  int pitch;  // elements
  int count;
};

// A warp, by mma: x is the operand with 16 rows, of which kMaxRows (8 or 16) can exist, the weights the one
// with columns, 8 stored rows to each of kTiles products. Rows of x that do not exist repeat the last one;
// their sums are not stored.
template <class T_, int kMaxRows_, int kTiles>
struct MatrixTeam {
  using T = T_;
  static constexpr int kLanes = 32;
  static constexpr int kMaxRows = kMaxRows_;                          // of x
  static constexpr int kStoredRows = 8 * kTiles;                      // of the weights
  static constexpr int kColumns = 64;                                 // in a piece of weights
  static constexpr int kLineBytes = static_cast<int>(kTileRowBytes);  // of a row of the piece
  static constexpr int kRingPieces = 8 / kTiles;                      // 8 KiB a warp
  static constexpr int kResidentBlocks = 3;                           // registers shall suffice for that

  uint32_t x_address;  // this lane's part of the matrices that ldmatrix gathers
  uint32_t weights_offset;
  float sums[kTiles][4];

  __device__ __forceinline__ MatrixTeam(const TeamInput<T>& x, int lane) {
    const int row = lane % kMaxRows < x.count ? lane % kMaxRows : x.count - 1;
    x_address = ptx::shared_address(x.rows + row * x.pitch + lane / kMaxRows * 8);
    weights_offset = static_cast<uint32_t>(lane % 8 * kTileRowBytes + (lane / 8 ^ lane % 8) * 16);
  }

  __device__ __forceinline__ void begin() {
#pragma unroll
    for (int i = 0; i < kTiles; i++) sums[i][0] = sums[i][1] = sums[i][2] = sums[i][3] = 0.0f;
  }

  // 16 columns from `column` and from column + 16.
  __device__ __forceinline__ void load_x(int column, uint32_t (&low)[4], uint32_t (&high)[4]) const {
    const uint32_t address = x_address + static_cast<uint32_t>(column) * 2;
    if constexpr (kMaxRows == 8) {
      uint32_t both[4];
      ptx::ldmatrix_x4(both, address);
      low[0] = both[0], low[2] = both[1], high[0] = both[2], high[2] = both[3];
      low[1] = low[3] = high[1] = high[3] = 0;
    } else {
      ptx::ldmatrix_x4(low, address);
      ptx::ldmatrix_x4(high, address + 32);
    }
  }

  // The weights of the columns from `column` on.
  __device__ __forceinline__ void multiply(const char* piece, int column) {
    const uint32_t weights = ptx::shared_address(piece);
#pragma unroll
    for (int half = 0; half < 2; half++) {
      uint32_t low[4], high[4];
      load_x(column + half * 32, low, high);
#pragma unroll
      for (int i = 0; i < kTiles; i++) {
        uint32_t w[4];
        ptx::ldmatrix_x4(w, weights + i * 8 * static_cast<int>(kTileRowBytes) + (weights_offset ^ half * 64));
        const uint32_t w_low[2] = {w[0], w[1]}, w_high[2] = {w[2], w[3]};
        ptx::mma<T>(sums[i], low, w_low);
        ptx::mma<T>(sums[i], high, w_high);
      }
    }
  }

  // to[m * pitch + i] = the sum of row m of x and stored row i of the group.
  __device__ __forceinline__ void store(float* to, int pitch, int count, int lane) const {
    const int m = lane / 4, column = lane % 4 * 2;
#pragma unroll
    for (int i = 0; i < kTiles; i++) {
      float* at = to + m * pitch + i * 8 + column;
      if (m < count) *reinterpret_cast<float2*>(at) = make_float2(sums[i][0], sums[i][1]);
      if (kMaxRows > 8 && m + 8 < count)
        *reinterpret_cast<float2*>(at + 8 * pitch) = make_float2(sums[i][2], sums[i][3]);
    }
  }
};

// The 16 bytes of weights at p, as f32.
template <class W>
__device__ __forceinline__ void load_weights(const char* p, float (&w)[16 / sizeof(W)]) {
  const uint4 raw = *reinterpret_cast<const uint4*>(p);
  const uint32_t words[4] = {raw.x, raw.y, raw.z, raw.w};
#pragma unroll
  for (int i = 0; i < 4; i++) {
    if constexpr (sizeof(W) == 4) {
      w[i] = __uint_as_float(words[i]);
    } else {
      const float2 pair = unpack2<W>(words[i]);
      w[2 * i] = pair.x;
      w[2 * i + 1] = pair.y;
    }
  }
}

// 8 lanes, x in f32: lane i has the sums of stored row i, each a chain of fmaf. Rows of x as above.
template <class W, int kMaxRows_>
struct ScalarTeam {
  using T = float;
  static constexpr int kLanes = 8;
  static constexpr int kMaxRows = kMaxRows_;
  static constexpr int kStoredRows = 8;
  static constexpr int kColumns = static_cast<int>(kTileRowBytes / sizeof(W));
  static constexpr int kLineBytes = static_cast<int>(kTileRowBytes);
  static constexpr int kRingPieces = 4;  // 16 KiB a warp
  static constexpr int kResidentBlocks = kMaxRows == 1 ? 3 : kMaxRows < 8 ? 2 : 1;

  TeamInput<float> x;
  int row;
  float sums[kMaxRows];

  __device__ __forceinline__ ScalarTeam(const TeamInput<float>& x, int lane) : x(x), row(lane) {}

  __device__ __forceinline__ void begin() {
#pragma unroll
    for (int m = 0; m < kMaxRows; m++) sums[m] = 0.0f;
  }

  __device__ __forceinline__ void multiply(const char* piece, int column) {
    constexpr int kWeights = 16 / static_cast<int>(sizeof(W));
#pragma unroll 1
    for (int p = 0; p < 8; p++) {
      float w[kWeights];
      load_weights<W>(piece + row * kTileRowBytes + (p ^ row) * 16, w);
#pragma unroll
      for (int m = 0; m < kMaxRows; m++) {
        const float* from = x.rows + (m < x.count ? m : x.count - 1) * x.pitch + column + p * kWeights;
#pragma unroll
        for (int i = 0; i < kWeights; i += 4) {
          const float4 v = *reinterpret_cast<const float4*>(from + i);
          sums[m] = fmaf(w[i], v.x, sums[m]);
          sums[m] = fmaf(w[i + 1], v.y, sums[m]);
          sums[m] = fmaf(w[i + 2], v.z, sums[m]);
          sums[m] = fmaf(w[i + 3], v.w, sums[m]);
        }
      }
    }
  }

  __device__ __forceinline__ void store(float* to, int pitch, int count, int lane) const {
#pragma unroll
    for (int m = 0; m < kMaxRows; m++)
      if (m < count) to[m * pitch + lane] = sums[m];
  }
};

}  // namespace kvasir::cuda
