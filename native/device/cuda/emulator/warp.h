#pragma once

#include <cstdint>

#include "device/cuda/emulator/block.h"

// What the lanes of a warp do together, as Meetings: the operands are one lane's each.
namespace kvasir::cuda::emulator {

struct ShuffleOperand {
  uint64_t value, result;
  int source;  // lane
};
void shuffle(void* const operands[32], uint32_t lanes);

struct BallotOperand {
  bool value;
  uint32_t result;
};
void ballot(void* const operands[32], uint32_t lanes);

// Every lane gets what all have.
struct GatherOperand {
  uint64_t value;
  uint64_t results[32];
};
void gather(void* const operands[32], uint32_t lanes);

// mma.m16n8k16.
struct MmaOperand {
  float* d;
  const uint32_t* a;
  const uint32_t* b;
};
void mma_bf16(void* const operands[32], uint32_t lanes);
void mma_f16(void* const operands[32], uint32_t lanes);

// ldmatrix and stmatrix: lane i's row of 16 bytes, and its registers, one for each matrix.
struct MatrixOperand {
  uint32_t row[4];
  uint32_t registers[4];
};
void load_matrix_x2(void* const operands[32], uint32_t lanes);
void load_matrix_x4(void* const operands[32], uint32_t lanes);
void load_matrix_x2_trans(void* const operands[32], uint32_t lanes);
void load_matrix_x4_trans(void* const operands[32], uint32_t lanes);
void store_matrix_x4(void* const operands[32], uint32_t lanes);
void store_matrix_x4_trans(void* const operands[32], uint32_t lanes);

}  // namespace kvasir::cuda::emulator
