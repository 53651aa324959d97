#pragma once

// The kernels among which a linear layer chooses by its number of rows. All of them give a row the same bits.
// Each is defined in linear-<name>.cuda.cu.

#include "device/cuda/execution.h"
#include "kernels/linear/linear.h"

namespace kvasir::cuda {

// Rows of x as the layer reads them: with a norm, x is what the norm reads, and rows are normalised on their
// way.
enum class InputNorm : uint8_t { kNone, kRms, kLayer };
struct LinearInput {
  const void* x;  // (M,K)
  int64_t stride;
  InputNorm norm = InputNorm::kNone;
  const float* norm_weight = nullptr;  // (K,), or null for ones
  const float* norm_bias = nullptr;    // (K,), or null for zeros
  float epsilon = 0;
};

// Few rows, all of x in shared memory: weights stream past it. Any type. p.x is not used. False, and nothing
// launched, where there are too many rows or columns for that.
bool linear_stream(const Linear& p, const LinearInput& input, Execution& e);
bool linear_stream_blocks(const Linear& p, const LinearInput& input, Execution& e);  // the same for q8 and q4

// q8 and q4, any number of rows.
void linear_blocks(const Linear& p, Execution& e);

// dtype f32, any number of rows, made for many.
void linear_simt(const Linear& p, Execution& e);

// 16-bit types from here on.

// Any number of rows on Hopper, by wgmma and the copy engine; blocks that share a tile leave their sums in e.scratch.
// False, and nothing launched, where it does not take the layer: another architecture, or an x that a tensor map cannot
// describe.
inline bool is_hopper(const Execution& e) { return e.architecture >= 90 && e.architecture < 100; }
bool linear_hopper(const Linear& p, Execution& e);

// At most kMiddleMaxRows rows elsewhere: blocks share the runs of columns, and leave their sums in e.scratch.
constexpr int64_t kMiddleMaxRows = 128;
void linear_middle(const Linear& p, Execution& e);

// Any number of rows, made for many, by mma.sync.
void linear_prefill(const Linear& p, Execution& e);

}  // namespace kvasir::cuda
