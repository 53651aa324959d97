// What the device can do, without any of Kvasir's kernels: bytes a second that a copy moves (read and written) and that
// a sum reads, and the time from one empty kernel to the next in a graph. Prints a line of JSON for each.
//
//   nvcc -O3 -std=c++20 probe.cu -o probe

#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

#define CUDA_CHECK(call)                                                         \
  do {                                                                           \
    const cudaError_t error = (call);                                            \
    if (error != cudaSuccess) {                                                  \
      std::fprintf(stderr, "probe: %s: %s\n", #call, cudaGetErrorString(error)); \
      std::exit(1);                                                              \
    }                                                                            \
  } while (0)

namespace {

constexpr int64_t kBytes = int64_t{2} << 30;  // far more than any second-level cache
constexpr int kRepeats = 21;

// Random bits: zeros would be faster than what programs read.
__global__ void fill_randomly(uint4* to, int64_t count) {
  for (int64_t i = blockIdx.x * int64_t{blockDim.x} + threadIdx.x; i < count;
       i += int64_t{gridDim.x} * blockDim.x) {
    uint32_t x = static_cast<uint32_t>(i) * 2654435761u + 12345u;
    auto next = [&x] { return x = (x ^ x << 13) * 1664525u + 1013904223u; };
    to[i] = make_uint4(next(), next(), next(), next());
  }
}

// Each thread has eight loads of 16 bytes under way.
__global__ void sum(const uint4* from, int64_t count, uint32_t* to) {
  uint32_t total = 0;
  const int64_t stride = int64_t{gridDim.x} * blockDim.x;
  int64_t i = blockIdx.x * int64_t{blockDim.x} + threadIdx.x;
  for (; i + 7 * stride < count; i += 8 * stride) {
    uint4 x[8];
#pragma unroll
    for (int j = 0; j < 8; j++) x[j] = __ldcs(from + i + j * stride);
#pragma unroll
    for (int j = 0; j < 8; j++) total += x[j].x ^ x[j].y ^ x[j].z ^ x[j].w;
  }
  for (; i < count; i += stride) total += from[i].x;
  if (total == 0x12345678u) *to = total;  // so that the loads stay
}

__global__ void nothing() {}

template <typename F>
double median_us(cudaStream_t stream, const F& work) {
  cudaEvent_t start, end;
  CUDA_CHECK(cudaEventCreate(&start));
  CUDA_CHECK(cudaEventCreate(&end));
  std::vector<double> times;
  for (int i = -3; i < kRepeats; i++) {
    CUDA_CHECK(cudaEventRecord(start, stream));
    work();
    CUDA_CHECK(cudaEventRecord(end, stream));
    CUDA_CHECK(cudaStreamSynchronize(stream));
    float milliseconds = 0;
    CUDA_CHECK(cudaEventElapsedTime(&milliseconds, start, end));
    if (i >= 0) times.push_back(1000.0 * static_cast<double>(milliseconds));
  }
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

void print(const char* name, double value, double again) {
  std::printf("{\"kind\": \"probe\", \"name\": \"%s\", \"value\": %.6g, \"again\": %.6g}\n", name, value,
              again);
}

}  // namespace

int main() {
  cudaStream_t stream;
  CUDA_CHECK(cudaStreamCreate(&stream));
  uint4 *a = nullptr, *b = nullptr;
  uint32_t* total = nullptr;
  CUDA_CHECK(cudaMalloc(&a, kBytes));
  CUDA_CHECK(cudaMalloc(&b, kBytes));
  CUDA_CHECK(cudaMalloc(&total, sizeof *total));
  cudaDeviceProp device{};
  CUDA_CHECK(cudaGetDeviceProperties(&device, 0));
  const int blocks = 8 * device.multiProcessorCount;
  const int64_t count = kBytes / static_cast<int64_t>(sizeof(uint4));
  fill_randomly<<<blocks, 256, 0, stream>>>(a, count);
  CUDA_CHECK(cudaGetLastError());

  auto copy = [&] {
    return 2e6 * static_cast<double>(kBytes) / median_us(stream, [&] {
             CUDA_CHECK(cudaMemcpyAsync(b, a, kBytes, cudaMemcpyDeviceToDevice, stream));
           });
  };
  auto read = [&] {
    return 1e6 * static_cast<double>(kBytes) /
           median_us(stream, [&] { sum<<<blocks, 256, 0, stream>>>(a, count, total); });
  };
  print("copy bytes a second", copy(), copy());
  print("read bytes a second", read(), read());
  CUDA_CHECK(cudaGetLastError());

  constexpr int kKernels = 500;
  cudaGraph_t graph;
  cudaGraphExec_t executable;
  CUDA_CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
  for (int i = 0; i < kKernels; i++) nothing<<<1, 32, 0, stream>>>();
  CUDA_CHECK(cudaStreamEndCapture(stream, &graph));
  CUDA_CHECK(cudaGraphInstantiate(&executable, graph, 0));
  auto gap = [&] {
    return median_us(stream, [&] { CUDA_CHECK(cudaGraphLaunch(executable, stream)); }) / kKernels;
  };
  print("us from an empty kernel to the next in a graph", gap(), gap());
  return 0;
}
