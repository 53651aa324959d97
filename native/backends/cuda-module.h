#pragma once

#include "backends/cuda-kernels.h"
#include "device/cuda/execution.h"
#include "device/cuda/runtime.h"

namespace kvasir::cuda {

// What the shared library `kvasir-cuda` (or its emulated twin) gives the addon: the runtime of
// device/cuda/runtime.h and the kernels, as one table of functions. The two are built from one source tree;
// version and size tell a library that was not.
//
// Functions return 0, or nonzero when something went wrong that last_error then tells the calling thread.
constexpr uint32_t kModuleVersion = 2;

struct Module {
  uint32_t version;
  uint32_t bytes;    // sizeof(Module)
  const char* name;  // "cuda", "cuda-emulated"

  // The message of the calling thread's last error, and its ErrorKind.
  const char* (*last_error)(int* kind) noexcept;

  int (*device_count)(int* count) noexcept;
  int (*device_info)(int device, DeviceInfo* info) noexcept;
  int (*allocate)(int device, int64_t bytes, std::byte** memory) noexcept;
  int (*release)(int device, std::byte* memory) noexcept;
  int (*allocate_pinned)(int64_t bytes, std::byte** memory) noexcept;
  int (*release_pinned)(std::byte* memory) noexcept;

  int (*create_stream)(int device, Stream** stream) noexcept;
  void (*destroy_stream)(Stream* stream) noexcept;
  int (*copy_to_device)(Stream* stream, std::byte* to, const std::byte* from, int64_t bytes) noexcept;
  int (*copy_to_host)(Stream* stream, std::byte* to, const std::byte* from, int64_t bytes) noexcept;
  int (*copy_on_device)(Stream* stream, std::byte* to, const std::byte* from, int64_t bytes) noexcept;
  int (*copy_pieces_to_device)(Stream* stream, std::byte* to, int64_t to_pitch, const std::byte* from,
                               int64_t from_pitch, int64_t width, int64_t height) noexcept;
  int (*fill)(Stream* stream, std::byte* to, uint8_t byte, int64_t bytes) noexcept;
  int (*synchronize)(Stream* stream) noexcept;
  int (*begin_capture)(Stream* stream) noexcept;
  int (*end_capture)(Stream* stream, Graph** graph) noexcept;
  int (*launch_graph)(Stream* stream, const Graph* graph) noexcept;
  void (*destroy_graph)(Graph* graph) noexcept;

  int (*create_event)(int device, Event** event) noexcept;
  void (*destroy_event)(Event* event) noexcept;
  int (*record)(Stream* stream, Event* event) noexcept;
  int (*elapsed_ms)(const Event* start, const Event* end, double* milliseconds) noexcept;

  Kernels kernels;
};

}  // namespace kvasir::cuda

// The one symbol that the library exports; null when it has no table of this version.
extern "C" __attribute__((visibility("default"))) const kvasir::cuda::Module* kvasir_cuda_module(
    uint32_t version) noexcept;
