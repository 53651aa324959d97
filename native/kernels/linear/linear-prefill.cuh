#pragma once

// Linear layers of many rows by mma.sync, for all devices.
//
// A block owns a tile of y: kRows stored rows of the weight by kTokens rows of x. It goes through K in blocks of
// 64 columns, which cp.async brings to a ring of 3 stages in shared memory: the weight's tiles as they are, x row
// by row with the same permutation. 8 warps share a tile, 2 in rows by 4 in tokens; each multiplies by m16n8k16,
// weight rows as M and tokens as N, and has in registers the sums of the run under way and the totals of the runs
// before it. The totals go to shared memory as f32, transposed, and from there to y in whole rows.
//
// Bytes from the second-level cache: (kRows + kTokens) * 128 for 2 * kRows * kTokens * 64 operations.

#include "kernels/linear/linear-epilogue.cuh"
#include "kernels/linear/linear-many-rows.cuh"

namespace kvasir::cuda {

constexpr int kPrefillThreads = 256;
constexpr int kPrefillStages = 3;
constexpr int kPrefillBlockColumns = 64;  // a tile's width in 16-bit numbers

template <int kRows, int kTokens>
struct PrefillTile {
  // One warp's part, in matrices of 16 rows and of 8 tokens.
  static constexpr int kRowParts = kRows / 2 / 16, kTokenParts = kTokens / 4 / 8;
  static constexpr int kWeightBytes = kRows * kTileRowBytes;
  static constexpr int kStageBytes = kWeightBytes + kTokens * kTileRowBytes;
  static constexpr int kPitch = kRows + 4;  // floats; 4 more, so that 4 tokens of 8 rows are in 32 banks
  static constexpr int kTotalsBytes = kTokens * kPitch * 4;
  static constexpr int kSharedBytes =
      kPrefillStages * kStageBytes > kTotalsBytes ? kPrefillStages* kStageBytes : kTotalsBytes;
};

struct PrefillProblem {
  const std::byte* weight;
  const void* x;
  int64_t x_stride;
  int M, K;
  int row_tiles, k_blocks, run_blocks;
  bool x_aligned;  // all rows of x begin at multiples of 16 bytes
  TileOrder order;
  LinearOutput out;
};

// 8 elements of a row, of which `count` exist; zeros for the others.
template <class T>
__device__ __forceinline__ uint4 load_piece(const T* p, int count) {
  uint32_t pairs[4];
#pragma unroll
  for (int i = 0; i < 4; i++) {
    const uint32_t low = 2 * i < count ? p[2 * i].bits : 0;
    const uint32_t high = 2 * i + 1 < count ? p[2 * i + 1].bits : 0;
    pairs[i] = low | high << 16;
  }
  return make_uint4(pairs[0], pairs[1], pairs[2], pairs[3]);
}

template <class T, int kRows, int kTokens>
struct PrefillBlock {
  using Tile = PrefillTile<kRows, kTokens>;
  const PrefillProblem& p;
  int row0, token0;

  // The tiles of one block of columns, 8 KiB for each 64 rows. Where the last rows are half a block, twice.
  __device__ void load_weight(int block, int stage) const {
    const uint32_t to = ptx::shared_address(dynamic_shared<std::byte>()) + stage * Tile::kStageBytes;
#pragma unroll
    for (int i = 0; i < kRows / kTileRows; i++) {
      const int wanted = row0 / static_cast<int>(kTileRows) + i;
      const int64_t row_tile = wanted < p.row_tiles ? wanted : p.row_tiles - 1;
      const std::byte* tile = p.weight + (row_tile * p.k_blocks + block) * kTileBytes;
#pragma unroll
      for (int byte = 0; byte < kTileBytes; byte += kPrefillThreads * 16) {
        const int at = byte + threadIdx.x * 16;
        ptx::copy_async(to + i * kTileBytes + at, tile + at);
      }
    }
  }

  // kTokens rows of 64 columns; zeros for tokens from M on and for columns from K on.
  __device__ void load_x(int block, int stage) const {
    std::byte* to = dynamic_shared<std::byte>() + stage * Tile::kStageBytes + Tile::kWeightBytes;
    const int column = block * kPrefillBlockColumns + static_cast<int>(threadIdx.x) % 8 * 8;
    const bool whole = p.x_aligned && (block + 1) * kPrefillBlockColumns <= p.K;
#pragma unroll
    for (int i = 0; i < kTokens * 8 / kPrefillThreads; i++) {
      const int token = threadIdx.x / 8 + i * (kPrefillThreads / 8);
      const bool exists = token0 + token < p.M;
      const T* from = static_cast<const T*>(p.x) +
                      (exists ? static_cast<int64_t>(token0 + token) * p.x_stride + column : 0);
      std::byte* piece = to + place_of_piece(token, threadIdx.x % 8);
      if (whole) {
        ptx::copy_async(ptx::shared_address(piece), from, exists);
      } else {
        *reinterpret_cast<uint4*>(piece) = load_piece(from, exists ? p.K - column : 0);
      }
    }
  }

  using Sums = float[Tile::kRowParts][Tile::kTokenParts][4];

  struct Fragments {
    uint32_t weight[Tile::kRowParts][4];
    uint32_t x[Tile::kTokenParts / 2][4];  // two matrices of 8 tokens each
  };

  // Columns 16k to 16k + 15 of the stage for the warp's rows and tokens.
  __device__ void load_fragments(Fragments& f, uint32_t stage, int k) const {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const int row = warp % 2 * (kRows / 2) + lane % 16;
    const int token = warp / 2 * (kTokens / 4) + lane / 16 * 8 + lane % 8;
    const uint32_t weight = stage + place_of_piece(row, 2 * k + lane / 16);
    const uint32_t x = stage + Tile::kWeightBytes + place_of_piece(token, 2 * k + lane / 8 % 2);
#pragma unroll
    for (int i = 0; i < Tile::kRowParts; i++) ptx::ldmatrix_x4(f.weight[i], weight + i * 16 * kTileRowBytes);
#pragma unroll
    for (int i = 0; i < Tile::kTokenParts / 2; i++) ptx::ldmatrix_x4(f.x[i], x + i * 16 * kTileRowBytes);
  }

  // 64 columns, 16 at a time, while the next 16 are on their way to registers.
  __device__ void multiply(Sums& sums, int stage) const {
    const uint32_t at = ptx::shared_address(dynamic_shared<std::byte>()) + stage * Tile::kStageBytes;
    Fragments fragments[2];
    load_fragments(fragments[0], at, 0);
#pragma unroll
    for (int k = 0; k < kPrefillBlockColumns / 16; k++) {
      if (k + 1 < kPrefillBlockColumns / 16) load_fragments(fragments[(k + 1) % 2], at, k + 1);
      const Fragments& f = fragments[k % 2];
#pragma unroll
      for (int i = 0; i < Tile::kRowParts; i++) {
#pragma unroll
        for (int j = 0; j < Tile::kTokenParts; j++) {
          const uint32_t x[2] = {f.x[j / 2][j % 2 * 2], f.x[j / 2][j % 2 * 2 + 1]};
          ptx::mma<T>(sums[i][j], f.weight[i], x);
        }
      }
    }
  }

  // Ends a run: totals += sums, sums = 0.
  static __device__ void add_run(Sums& totals, Sums& sums) {
#pragma unroll
    for (int i = 0; i < Tile::kRowParts; i++) {
#pragma unroll
      for (int j = 0; j < Tile::kTokenParts; j++) {
#pragma unroll
        for (int k = 0; k < 4; k++) {
          totals[i][j][k] = sum(totals[i][j][k], sums[i][j][k]);
          sums[i][j][k] = 0.0f;
        }
      }
    }
  }

  // All of K. Begins with copies of weights alone, which no kernel writes.
  __device__ void accumulate(Sums& totals) const {
    const int ahead = kPrefillStages - 1;
    for (int block = 0; block < ahead && block < p.k_blocks; block++) load_weight(block, block);
    ptx::wait_for_predecessor();
    for (int block = 0; block < ahead; block++) {
      if (block < p.k_blocks) load_x(block, block);
      ptx::commit_copies();
    }
    Sums sums;
#pragma unroll
    for (int i = 0; i < Tile::kRowParts; i++)
#pragma unroll
      for (int j = 0; j < Tile::kTokenParts; j++)
#pragma unroll
        for (int k = 0; k < 4; k++) totals[i][j][k] = -0.0f, sums[i][j][k] = 0.0f;  // -0 + s is s for every s
    int stage = 0, left_in_run = p.run_blocks;
    for (int block = 0; block < p.k_blocks; block++) {
      ptx::wait_for_copies<kPrefillStages - 2>();
      __syncthreads();  // the stage is there for all, and the one before it has been read by all
      if (block + ahead < p.k_blocks) {
        const int next = (stage + ahead) % kPrefillStages;
        load_weight(block + ahead, next);
        load_x(block + ahead, next);
      }
      ptx::commit_copies();
      multiply(sums, stage);
      if (--left_in_run == 0 || block + 1 == p.k_blocks) {
        add_run(totals, sums);
        left_in_run = p.run_blocks;
      }
      stage = (stage + 1) % kPrefillStages;
    }
    __syncthreads();  // the ring is free
  }

  // The warp's totals to shared memory, (kTokens, kRows).
  __device__ void stage_totals(const Sums& totals) const {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const int row = warp % 2 * (kRows / 2) + lane / 4, token = warp / 2 * (kTokens / 4) + lane % 4 * 2;
    float* to = dynamic_shared<float>() + token * Tile::kPitch + row;
#pragma unroll
    for (int i = 0; i < Tile::kRowParts; i++)
#pragma unroll
      for (int j = 0; j < Tile::kTokenParts; j++)
#pragma unroll
        for (int k = 0; k < 4; k++) to[(8 * j + k % 2) * Tile::kPitch + 16 * i + k / 2 * 8] = totals[i][j][k];
  }

  __device__ void write() const {
    const int count = p.M - token0 < kTokens ? p.M - token0 : kTokens;
    finish_block<T, 1>(p.out, {token0, count, row0, kRows}, {dynamic_shared<float>(), 1, 0, Tile::kPitch});
  }
};

template <class T, int kRows, int kTokens>
__global__ void __launch_bounds__(kPrefillThreads, kRows == 128 ? 1 : 2)
    linear_prefill_kernel(const __grid_constant__ PrefillProblem p) {
  using Block = PrefillBlock<T, kRows, kTokens>;
  const TilePlace place = place_of_tile(p.order, static_cast<int>(blockIdx.x));
  const Block block{p, place.row_block * kRows, place.token_block * kTokens};
  ptx::let_successor_start();
  typename Block::Sums totals;
  block.accumulate(totals);
  block.stage_totals(totals);
  __syncthreads();
  block.write();
}

template <class T, int kRows, int kTokens>
void launch_prefill(PrefillProblem p, Execution& e) {
  p.order.row_blocks = static_cast<int>(blocks_of(p.row_tiles, kRows / kTileRows));
  p.order.token_blocks = static_cast<int>(blocks_of(p.M, kTokens));
  p.order.group = 1024 / kRows;
  const auto blocks = static_cast<unsigned>(p.order.row_blocks * p.order.token_blocks);
  launch(e, linear_prefill_kernel<T, kRows, kTokens>,
         {dim3(blocks), dim3(kPrefillThreads), PrefillTile<kRows, kTokens>::kSharedBytes}, p);
}

inline PrefillProblem prefill_problem(const Linear& p) {
  const int64_t row_bytes = p.x_stride * size_of(p.dtype);
  const bool x_aligned = reinterpret_cast<uintptr_t>(p.x) % 16 == 0 && row_bytes % 16 == 0;
  return {static_cast<const std::byte*>(p.weight),
          p.x,
          p.x_stride,
          static_cast<int>(p.M),
          static_cast<int>(p.K),
          static_cast<int>(row_tiles(stored_rows(p.gated, p.N))),
          static_cast<int>(col_tiles(p.dtype, p.K)),
          static_cast<int>(linear_run_columns(p.K) / kPrefillBlockColumns),
          x_aligned,
          {},
          linear_output(p)};
}

// Tiles of 128 x 128 make the most of shared memory, one block to a multiprocessor; of tiles of 64 x 64 two run
// side by side. A wave of either takes about as long as its operations, and small tiles 1.4 times that.
inline bool prefill_takes_large_tiles(const PrefillProblem& p, int multiprocessors) {
  const int64_t large = blocks_of(p.row_tiles, 2) * blocks_of(p.M, 128);
  const int64_t small = p.row_tiles * blocks_of(p.M, 64);
  return blocks_of(large, multiprocessors) * 4 * 10 <= blocks_of(small, 2 * multiprocessors) * 2 * 14;
}

}  // namespace kvasir::cuda
