#include <string>

#include "device/cuda/cuda.h"

namespace kvasir::cuda {

namespace emulator {

void named_barrier(int id, int threads, bool wait, const char* what, Site site) {
  if (id < 1 || id > 15) fail(std::string(what) + ": barrier " + std::to_string(id), site);
  if (threads < 32 || threads % 32 != 0) {
    fail(std::string(what) + " of " + std::to_string(threads) + " threads, not a multiple of 32", site);
  }
  current().block->barrier(id, threads, wait, 0, what, site);
}

}  // namespace emulator

namespace ptx {

TensorMap tensor_map(DType dtype, const void* base, int64_t rows, int64_t cols, int64_t row_stride_bytes,
                     int box_rows, int box_cols) {
  const int64_t size = size_of(dtype), box_bytes = box_cols * size, limit = int64_t{1} << 32;
  const bool valid = reinterpret_cast<uintptr_t>(base) % 16 == 0 && base != nullptr && rows >= 1 &&
                     rows <= limit && cols >= 1 && cols <= limit && row_stride_bytes % 16 == 0 &&
                     row_stride_bytes >= 1 && row_stride_bytes < int64_t{1} << 40 && box_rows >= 1 &&
                     box_rows <= 256 && box_cols >= 1 && box_cols <= 256 && box_bytes % 16 == 0 &&
                     box_bytes <= 128;
  if (!valid) throw Error(ErrorKind::kDevice, "cuTensorMapEncodeTiled: error 1");
  TensorMap map{};
  map.base = static_cast<const char*>(base);
  map.rows = rows;
  map.cols = cols;
  map.row_stride_bytes = row_stride_bytes;
  map.box_rows = box_rows;
  map.box_cols = box_cols;
  map.element_bytes = static_cast<int32_t>(size);
  map.magic = kTensorMapMagic;
  return map;
}

}  // namespace ptx
}  // namespace kvasir::cuda
