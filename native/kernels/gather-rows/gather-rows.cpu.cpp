// One thread copies a row; 8 bytes move for every element.

#include "kernels/gather-rows/gather-rows.h"

#include <cstring>

#include "device/cpu/rows.h"

namespace kvasir::KVASIR_ISA {

void gather_rows(const GatherRows& p, Execution& execution) {
  parallel_rows(execution, p.R, p.C, [&](int64_t r, int) {
    std::memcpy(floats(p.y) + r * p.y_stride, floats(p.x) + p.rows[r] * p.x_stride,
                static_cast<size_t>(p.C) * sizeof(float));
  });
}

}  // namespace kvasir::KVASIR_ISA
