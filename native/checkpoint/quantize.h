#pragma once

#include <cstdint>

#include "types/blocks.h"

namespace kvasir {

// Numbers as blocks: kBlockColumns of each, finite. Returns whether one was too large for the type. Scales are rounded
// up, so that the largest number of a block never falls outside its range, and every number is rounded to the
// nearest that the scale as stored gives.
//
// Q8: of a few scales, from the largest magnitude / 127 to that / 121, the one with the smallest squared error. Blocks
// whose largest multiple is 121 to 127 (GGUF's own quantiser makes it 127) come out as they went in.
bool quantize(const float* numbers, int64_t blocks, Q8Block* out);
// Q4: of a few ranges, each improved by least squares, the one with the smallest squared error.
bool quantize(const float* numbers, int64_t blocks, Q4Block* out);

void dequantize(const Q8Block* blocks, int64_t count, float* out);
void dequantize(const Q4Block* blocks, int64_t count, float* out);

}  // namespace kvasir
