#include "device/cuda/runtime.h"

#include <cuda_runtime_api.h>

#include <cstdio>
#include <string>

#include "device/cuda/runtime-handles.h"
#include "types/error.h"

namespace kvasir::cuda {

namespace {

void check(cudaError_t error, const char* what, ErrorKind kind = ErrorKind::kDevice) {
  if (error == cudaSuccess) return;
  (void)cudaGetLastError();  // an error that does not stick is told once
  if (error == cudaErrorMemoryAllocation) kind = ErrorKind::kOutOfMemory;
  throw Error(kind, std::string(what) + ": " + cudaGetErrorString(error));
}

void use(int device) { check(cudaSetDevice(device), "cudaSetDevice"); }

int attribute(int device, cudaDeviceAttr which) {
  int value = 0;
  check(cudaDeviceGetAttribute(&value, which, device), "cudaDeviceGetAttribute");
  return value;
}

}  // namespace

int device_count() {
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error == cudaErrorNoDevice) return 0;
  check(error, "cudaGetDeviceCount");
  return count;
}

DeviceInfo device_info(int device) {
  use(device);
  cudaDeviceProp properties{};
  check(cudaGetDeviceProperties(&properties, device), "cudaGetDeviceProperties");
  DeviceInfo info{};
  std::snprintf(info.name, sizeof info.name, "%s", properties.name);
  info.architecture = 10 * properties.major + properties.minor;
  info.multiprocessors = properties.multiProcessorCount;
  size_t free_bytes = 0, total_bytes = 0;
  check(cudaMemGetInfo(&free_bytes, &total_bytes), "cudaMemGetInfo");
  info.memory_bytes = static_cast<int64_t>(total_bytes);
  info.free_bytes = static_cast<int64_t>(free_bytes);
  info.shared_bytes = attribute(device, cudaDevAttrMaxSharedMemoryPerBlockOptin);
  info.l2_bytes = attribute(device, cudaDevAttrL2CacheSize);
  check(cudaDriverGetVersion(&info.driver_version), "cudaDriverGetVersion");
  check(cudaRuntimeGetVersion(&info.runtime_version), "cudaRuntimeGetVersion");
  return info;
}

std::byte* allocate(int device, int64_t bytes) {
  use(device);
  void* memory = nullptr;
  check(cudaMalloc(&memory, static_cast<size_t>(bytes)), "cudaMalloc");
  return static_cast<std::byte*>(memory);
}

void release(int device, std::byte* memory) {
  use(device);
  check(cudaFree(memory), "cudaFree");
}

std::byte* allocate_pinned(int64_t bytes) {
  void* memory = nullptr;
  check(cudaHostAlloc(&memory, static_cast<size_t>(bytes), cudaHostAllocPortable), "cudaHostAlloc");
  return static_cast<std::byte*>(memory);
}

void release_pinned(std::byte* memory) { check(cudaFreeHost(memory), "cudaFreeHost"); }

Graph::Graph(std::unique_ptr<Implementation> implementation) : implementation_(std::move(implementation)) {}

Graph::~Graph() { cudaGraphExecDestroy(implementation_->graph); }

Event::Event(int device) : implementation_(std::make_unique<Implementation>()) {
  use(device);
  check(cudaEventCreate(&implementation_->event), "cudaEventCreate");
}

Event::~Event() { cudaEventDestroy(implementation_->event); }

bool Event::reached() const {
  const cudaError_t error = cudaEventQuery(implementation_->event);
  if (error == cudaErrorNotReady) return false;
  check(error, "cudaEventQuery");
  return true;
}

double Event::milliseconds_since(const Event& start) const {
  float milliseconds = 0;
  check(cudaEventElapsedTime(&milliseconds, start.implementation_->event, implementation_->event),
        "cudaEventElapsedTime");
  return milliseconds;
}

Stream::Stream(int device) : device_(device), implementation_(std::make_unique<Implementation>()) {
  use(device);
  check(cudaStreamCreateWithFlags(&implementation_->stream, cudaStreamNonBlocking), "cudaStreamCreate");
}

Stream::~Stream() {
  cudaSetDevice(device_);
  cudaStreamDestroy(implementation_->stream);
}

void Stream::copy_to_device(std::byte* to, const std::byte* from, int64_t bytes) {
  check(
      cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), cudaMemcpyHostToDevice, implementation_->stream),
      "cudaMemcpyAsync");
}

void Stream::copy_to_host(std::byte* to, const std::byte* from, int64_t bytes) {
  check(
      cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), cudaMemcpyDeviceToHost, implementation_->stream),
      "cudaMemcpyAsync");
}

void Stream::copy_on_device(std::byte* to, const std::byte* from, int64_t bytes) {
  check(cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), cudaMemcpyDeviceToDevice,
                        implementation_->stream),
        "cudaMemcpyAsync");
}

void Stream::copy_pieces_to_device(std::byte* to, int64_t to_pitch, const std::byte* from, int64_t from_pitch,
                                   int64_t width, int64_t height) {
  check(cudaMemcpy2DAsync(to, static_cast<size_t>(to_pitch), from, static_cast<size_t>(from_pitch),
                          static_cast<size_t>(width), static_cast<size_t>(height), cudaMemcpyHostToDevice,
                          implementation_->stream),
        "cudaMemcpy2DAsync");
}

void Stream::fill(std::byte* to, uint8_t byte, int64_t bytes) {
  check(cudaMemsetAsync(to, byte, static_cast<size_t>(bytes), implementation_->stream), "cudaMemsetAsync");
}

void Stream::record(Event& event) {
  check(cudaEventRecord((*event).event, implementation_->stream), "cudaEventRecord");
}

void Stream::synchronize() { check(cudaStreamSynchronize(implementation_->stream), "cudaStreamSynchronize"); }

void Stream::begin_capture() {
  // Of this thread's calls only: other threads may load another model meanwhile.
  check(cudaStreamBeginCapture(implementation_->stream, cudaStreamCaptureModeThreadLocal),
        "cudaStreamBeginCapture");
}

std::unique_ptr<Graph> Stream::end_capture() {
  cudaGraph_t captured = nullptr;
  check(cudaStreamEndCapture(implementation_->stream, &captured), "cudaStreamEndCapture");
  auto implementation = std::make_unique<Graph::Implementation>();
  const cudaError_t error = cudaGraphInstantiate(&implementation->graph, captured, 0);
  cudaGraphDestroy(captured);
  check(error, "cudaGraphInstantiate");
  return std::make_unique<Graph>(std::move(implementation));
}

void Stream::launch(const Graph& graph) {
  check(cudaSetDevice(device_), "cudaSetDevice");
  check(cudaGraphLaunch((*graph).graph, implementation_->stream), "cudaGraphLaunch");
}

}  // namespace kvasir::cuda
