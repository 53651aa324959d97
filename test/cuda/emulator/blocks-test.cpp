#include "device.h"
#include "tests.h"

namespace kvasir::cuda::test {

namespace {

__global__ void indices(unsigned* y) {
  ptx::wait_for_predecessor();
  const unsigned thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
  const unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
  const unsigned threads = blockDim.x * blockDim.y * blockDim.z;
  y[block * threads + thread] = threadIdx.x + 10 * threadIdx.y + 100 * threadIdx.z + 1000 * blockIdx.x +
                                10000 * blockIdx.y + 100000 * blockIdx.z;
}

__global__ void sums(const float* x, float* y, int n) {
  ptx::wait_for_predecessor();
  __shared__ float scratch[32];
  float sum = 0, most = -1;
  for (int i = static_cast<int>(threadIdx.x); i < n; i += static_cast<int>(blockDim.x)) {
    sum += x[blockIdx.x * static_cast<unsigned>(n) + static_cast<unsigned>(i)];
    most = fmaxf(most, x[blockIdx.x * static_cast<unsigned>(n) + static_cast<unsigned>(i)]);
  }
  sum = block_sum(sum, scratch);
  most = block_max(most, scratch);
  if (threadIdx.x == blockDim.x - 1) y[blockIdx.x] = sum + 1000 * most;
}

__global__ void counts(int* y) {
  ptx::wait_for_predecessor();
  const int t = static_cast<int>(threadIdx.x), n = static_cast<int>(blockDim.x);
  for (int i = 0; i < 3; ++i) {
    y[t] = __syncthreads_count(t % 3 == i);
    y[n + t] = __syncthreads_or(t == 50 + i);
    y[2 * n + t] = __syncthreads_and(t >= i - 1);
  }
}

// Each block leaves a number; the last one to come adds all of them, in order.
__global__ void last_block(float* parts, unsigned* counter, float* y) {
  ptx::wait_for_predecessor();
  __shared__ bool last;
  if (threadIdx.x == 0) {
    parts[blockIdx.x] = static_cast<float>(blockIdx.x);
    __threadfence();
    last = atomicInc(counter, gridDim.x - 1) == gridDim.x - 1;
    __threadfence();
  }
  __syncthreads();
  if (!last || threadIdx.x != 0) return;
  float sum = 0;
  for (unsigned i = 0; i < gridDim.x; ++i) sum += parts[i];
  *y = sum;
}

__global__ void atomics(int* y, float* z) {
  ptx::wait_for_predecessor();
  const int t = static_cast<int>(threadIdx.x);
  atomicAdd(&y[0], t);
  atomicMax(&y[1], t * 2);
  atomicMin(&y[2], -t);
  atomicCAS(&y[3], 0, t + 1);
  atomicExch(&y[4], 5);
  atomicAdd(z, 0.5f);
}

// Two warps give numbers to two others and get them back, through named barriers.
__global__ void named_barriers(int* y) {
  ptx::wait_for_predecessor();
  __shared__ int values[64];
  const int t = static_cast<int>(threadIdx.x);
  if (t < 64) {
    for (int i = 0; i < 4; ++i) {
      if (i > 0) ptx::barrier_sync(2, 128);
      values[t] = 100 * i + t;
      ptx::barrier_arrive(1, 128);
    }
  } else {
    int sum = 0;
    for (int i = 0; i < 4; ++i) {
      ptx::barrier_sync(1, 128);
      sum += values[127 - t];
      if (i < 3) ptx::barrier_arrive(2, 128);
    }
    y[t - 64] = sum;
  }
}

__global__ void dynamic(unsigned char* y, int bytes) {
  ptx::wait_for_predecessor();
  unsigned char* shared = dynamic_shared<unsigned char>();
  for (int i = static_cast<int>(threadIdx.x); i < bytes; i += static_cast<int>(blockDim.x)) {
    shared[i] = static_cast<unsigned char>(i + static_cast<int>(blockIdx.x));
  }
  __syncthreads();
  if (threadIdx.x != 0) return;
  unsigned char sum = 0;
  for (int i = 0; i < bytes; ++i) sum = static_cast<unsigned char>(sum + shared[i]);
  y[blockIdx.x] = sum;
}

__global__ void by_value(TensorMap map, double a, char b, double* y) {
  ptx::wait_for_predecessor();
  if (threadIdx.x == 0) *y = a + b;
  if (reinterpret_cast<uintptr_t>(&map) % 64 != 0) *y = -1;
}

}  // namespace

void test_blocks() {
  test_in_all_orders("indices of threads and blocks", [] {
    Device device;
    const Buffer<unsigned> y(device.stream, 3 * 2 * 2 * 60);
    launch(device.execution, indices, {dim3(3, 2, 2), dim3(5, 4, 3)}, y.data());
    const std::vector<unsigned> values = y.values();
    int wrong = 0;
    for (unsigned i = 0; i < values.size(); ++i) {
      const unsigned t = i % 60, b = i / 60;
      const unsigned want =
          t % 5 + 10 * (t / 5 % 4) + 100 * (t / 20) + 1000 * (b % 3) + 10000 * (b / 3 % 2) + 100000 * (b / 6);
      wrong += values[i] != want;
    }
    CHECK(wrong == 0);
  });
  test_in_all_orders("sums and maxima of blocks", [] {
    Device device;
    std::vector<float> x;
    for (int i = 0; i < 5000; ++i) x.push_back(static_cast<float>(i % 7));
    const Buffer<float> from(device.stream, x), to(device.stream, 5);
    for (const unsigned threads : {32u, 96u, 1024u}) {
      launch(device.execution, sums, {5, threads}, from.data(), to.data(), 1000);
      const std::vector<float> y = to.values();
      for (size_t b = 0; b < 5; ++b) {
        float sum = 6000;
        for (size_t i = 0; i < 1000; ++i) sum += x[1000 * b + i];
        CHECK(y[b] == sum);
      }
    }
  });
  test_in_all_orders("barriers that count", [] {
    Device device;
    const Buffer<int> y(device.stream, 300);
    launch(device.execution, counts, {1, 100}, y.data());
    const std::vector<int> values = y.values();
    int wrong = 0;
    for (size_t t = 0; t < 100; ++t) wrong += values[t] != 33 || values[100 + t] != 1 || values[200 + t] != 0;
    CHECK(wrong == 0);
  });
  test_in_all_orders("the last block adds", [] {
    Device device;
    const Buffer<float> parts(device.stream, 40), y(device.stream, 1);
    const Buffer<unsigned> counter(device.stream, std::vector<unsigned>{0});
    for (int i = 0; i < 3; ++i)
      launch(device.execution, last_block, {40, 32}, parts.data(), counter.data(), y.data());
    CHECK(y.values()[0] == 780);
    CHECK(counter.values()[0] == 0);
  });
  test("atomics", [] {
    Device device;
    const Buffer<int> y(device.stream, std::vector<int>{0, 0, 0, 0, 0});
    const Buffer<float> z(device.stream, std::vector<float>{0});
    launch(device.execution, atomics, {4, 64}, y.data(), z.data());
    const std::vector<int> values = y.values();
    CHECK(values[0] == 4 * 2016 && values[1] == 126 && values[2] == -63 && values[3] >= 1 && values[4] == 5);
    CHECK(z.values()[0] == 128);
  });
  test_in_all_orders("named barriers", [] {
    Device device;
    const Buffer<int> y(device.stream, 64);
    launch(device.execution, named_barriers, {1, 128}, y.data());
    const std::vector<int> values = y.values();
    int wrong = 0;
    for (int t = 0; t < 64; ++t) wrong += values[static_cast<size_t>(t)] != 600 + 4 * (63 - t);
    CHECK(wrong == 0);
  });
  test("dynamic shared memory up to the device's limit", [] {
    Device device;
    const Buffer<unsigned char> y(device.stream, 3);
    for (const int bytes : {1, 1000, 50000, static_cast<int>(device.info.shared_bytes)}) {
      launch(device.execution, dynamic, {3, 64, bytes}, y.data(), bytes);
      const std::vector<unsigned char> values = y.values();
      for (int b = 0; b < 3; ++b) {
        unsigned char sum = 0;
        for (int i = 0; i < bytes; ++i) sum = static_cast<unsigned char>(sum + i + b);
        CHECK(values[static_cast<size_t>(b)] == sum);
      }
    }
  });
  test("parameters by value", [] {
    Device device;
    const Buffer<double> y(device.stream, 1);
    launch(device.execution, by_value, {1, 32}, TensorMap{}, 2.5, 'a', y.data());
    CHECK(y.values()[0] == 2.5 + 'a');
  });
}

}  // namespace kvasir::cuda::test
