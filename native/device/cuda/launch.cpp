#include <cuda.h>
#include <cuda_runtime.h>

#include <cstring>
#include <map>
#include <mutex>
#include <string>
#include <utility>

#include "device/cuda/launch.h"
#include "device/cuda/runtime-handles.h"
#include "device/cuda/tensor-map.h"
#include "types/error.h"

namespace kvasir::cuda {

namespace {

void check(cudaError_t error) {
  if (error != cudaSuccess)
    throw Error(ErrorKind::kDevice, std::string("launch: ") + cudaGetErrorString(error));
}

// A block gets more than 48 KiB, static arrays counted, only where the kernel was told so on that device.
void allow_shared_bytes(const void* kernel, int device, int64_t bytes) {
  constexpr int64_t kAlwaysAllowed = 32 << 10;  // leaves 16 KiB for static arrays
  if (bytes <= kAlwaysAllowed) return;
  static std::mutex mutex;
  static std::map<std::pair<const void*, int>, int64_t>& allowed =
      *new std::map<std::pair<const void*, int>, int64_t>;  // outlives threads that launch at exit
  std::lock_guard lock(mutex);
  int64_t& most = allowed[{kernel, device}];
  if (bytes <= most) return;
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes)));
  most = bytes;
}

}  // namespace

void launch_kernel(Execution& e, const void* kernel, const LaunchShape& shape, void** arguments) {
  check(cudaSetDevice(e.stream.device()));
  allow_shared_bytes(kernel, e.stream.device(), shape.shared_bytes);
  cudaLaunchAttribute overlap{};
  overlap.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  overlap.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = shape.grid;
  config.blockDim = shape.block;
  config.dynamicSmemBytes = static_cast<size_t>(shape.shared_bytes);
  config.stream = (*e.stream).stream;
  config.attrs = &overlap;
  config.numAttrs = e.overlap ? 1 : 0;
  check(cudaLaunchKernelExC(&config, kernel, arguments));
}

namespace ptx {

TensorMap tensor_map(DType dtype, const void* base, int64_t rows, int64_t cols, int64_t row_stride_bytes,
                     int box_rows, int box_cols) {
  // Through the runtime, so that nothing links against libcuda.
  using Encode = decltype(&cuTensorMapEncodeTiled);
  static const Encode encode = [] {
    void* function = nullptr;
    cudaDriverEntryPointQueryResult found;
    cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, 12000, cudaEnableDefault, &found);
    return reinterpret_cast<Encode>(function);
  }();
  if (encode == nullptr) throw Error(ErrorKind::kDevice, "the driver has no cuTensorMapEncodeTiled");
  const CUtensorMapDataType type = dtype == DType::kBF16  ? CU_TENSOR_MAP_DATA_TYPE_BFLOAT16
                                   : dtype == DType::kF16 ? CU_TENSOR_MAP_DATA_TYPE_FLOAT16
                                   : dtype == DType::kF32 ? CU_TENSOR_MAP_DATA_TYPE_FLOAT32
                                                          : CU_TENSOR_MAP_DATA_TYPE_INT32;
  const cuuint64_t dims[2] = {static_cast<cuuint64_t>(cols), static_cast<cuuint64_t>(rows)};
  const cuuint64_t strides[1] = {static_cast<cuuint64_t>(row_stride_bytes)};
  const cuuint32_t box[2] = {static_cast<cuuint32_t>(box_cols), static_cast<cuuint32_t>(box_rows)};
  const cuuint32_t steps[2] = {1, 1};
  CUtensorMap encoded;
  const CUresult result = encode(&encoded, type, 2, const_cast<void*>(base), dims, strides, box, steps,
                                 CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                                 CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (result != CUDA_SUCCESS)
    throw Error(ErrorKind::kDevice, "cuTensorMapEncodeTiled: error " + std::to_string(result));
  TensorMap map;
  static_assert(sizeof map == sizeof encoded);
  std::memcpy(&map, &encoded, sizeof map);
  return map;
}

}  // namespace ptx

}  // namespace kvasir::cuda
