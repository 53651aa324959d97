#include "device.h"
#include "tests.h"

namespace kvasir::cuda::test {

namespace {

constexpr int kKinds = 4;

template <class T>
__global__ void shuffles(const T* x, T* y, int amount, int width) {
  ptx::wait_for_predecessor();
  const int t = static_cast<int>(threadIdx.x), count = static_cast<int>(blockDim.x);
  const T value = x[t];
  y[t] = __shfl_sync(kAllLanes, value, amount, width);
  y[count + t] = __shfl_up_sync(kAllLanes, value, static_cast<unsigned>(amount), width);
  y[2 * count + t] = __shfl_down_sync(kAllLanes, value, static_cast<unsigned>(amount), width);
  y[3 * count + t] = __shfl_xor_sync(kAllLanes, value, amount, width);
}

// The lane that each kind of shuffle reads, from the CUDA programming guide.
int source_lane(int kind, int lane, int amount, int width) {
  const int start = lane / width * width, place = lane % width;
  if (kind == 0) return start + amount % width;
  if (kind == 1) return place - amount < 0 ? lane : lane - amount;
  if (kind == 2) return place + amount >= width ? lane : lane + amount;
  return (lane ^ amount) >= start + width ? lane : lane ^ amount;
}

template <class T>
void check_shuffles() {
  Device device;
  constexpr int kThreads = 64;
  std::vector<T> x;
  for (int i = 0; i < kThreads; ++i) x.push_back(static_cast<T>(1000003) * static_cast<T>(i + 1));
  const Buffer<T> from(device.stream, x);
  for (const int width : {32, 16, 8, 2}) {
    for (const int amount : {0, 1, 2, 5, 16, 31}) {
      if (amount >= width && amount != 5) continue;
      const Buffer<T> to(device.stream, kKinds * kThreads);
      launch(device.execution, shuffles<T>, {1, kThreads}, from.data(), to.data(), amount, width);
      const std::vector<T> y = to.values();
      int wrong = 0;
      for (int kind = 0; kind < kKinds; ++kind) {
        for (int t = 0; t < kThreads; ++t) {
          const int source = t / 32 * 32 + source_lane(kind, t % 32, amount, width);
          wrong += y[static_cast<size_t>(kind * kThreads + t)] != x[static_cast<size_t>(source)];
        }
      }
      CHECK(wrong == 0);
    }
  }
}

// The two halves of a warp each do their own.
__global__ void halves(unsigned* y) {
  ptx::wait_for_predecessor();
  const unsigned t = threadIdx.x;
  unsigned sum = t;
  if (t < 16) {
    for (int offset = 8; offset > 0; offset /= 2) sum += __shfl_xor_sync(0x0000ffffu, sum, offset);
  } else {
    for (int offset = 8; offset > 0; offset /= 2) sum = max(sum, __shfl_xor_sync(0xffff0000u, sum, offset));
  }
  __syncwarp();
  y[t] = sum;
}

__global__ void votes(unsigned* y) {
  ptx::wait_for_predecessor();
  const unsigned t = threadIdx.x;
  y[t] = __ballot_sync(kAllLanes, t % 3 == 0);
  y[32 + t] = static_cast<unsigned>(__any_sync(kAllLanes, t == 7));
  y[64 + t] = static_cast<unsigned>(__any_sync(kAllLanes, t == 77));
  y[96 + t] = static_cast<unsigned>(__all_sync(kAllLanes, t < 32));
  y[128 + t] = static_cast<unsigned>(__all_sync(kAllLanes, t != 31));
  y[160 + t] = __reduce_add_sync(kAllLanes, t);
  y[192 + t] = __reduce_max_sync(kAllLanes, t * 3);
  y[224 + t] = __reduce_min_sync(kAllLanes, t + 5);
}

__global__ void partial_warp(unsigned* y) {
  ptx::wait_for_predecessor();
  y[threadIdx.x] = __ballot_sync(kAllLanes, 1) + __shfl_sync(kAllLanes, threadIdx.x, 3);
}

// Through shared memory, ordered by __syncwarp alone.
__global__ void reverse(unsigned* y) {
  ptx::wait_for_predecessor();
  __shared__ unsigned values[64];
  const unsigned t = threadIdx.x;
  for (unsigned i = 0; i < 3; ++i) {
    values[t] = t + i;
    __syncwarp();
    y[64 * i + t] = values[t ^ 31];
    __syncwarp();
  }
}

__global__ void reductions(const float* x, float* y) {
  ptx::wait_for_predecessor();
  const float value = x[threadIdx.x];
  y[threadIdx.x] = warp_sum(value);
  y[32 + threadIdx.x] = warp_max(value);
  y[64 + threadIdx.x] = warp_sum<4>(value);
}

__global__ void bits(int* y) {
  ptx::wait_for_predecessor();
  y[0] = __popc(0xf00fu);
  y[1] = __ffs(8);
  y[2] = __clz(1);
  y[3] = __clz(0);
  y[4] = static_cast<int>(__brev(1u));
  y[5] = static_cast<int>(__byte_perm(0x33221100u, 0x77665544u, 0x7521));
  y[6] = static_cast<int>(__umulhi(0x80000000u, 6u));
  y[7] = static_cast<int>(__funnelshift_l(0x80000000u, 1u, 1));
}

}  // namespace

void test_warps() {
  test_in_all_orders("shuffles of float", [] { check_shuffles<float>(); });
  test("shuffles of int", [] { check_shuffles<int>(); });
  test("shuffles of unsigned", [] { check_shuffles<unsigned>(); });
  test("shuffles of double", [] { check_shuffles<double>(); });
  test("shuffles of 64-bit integers", [] { check_shuffles<unsigned long long>(); });
  test_in_all_orders("halves of a warp", [] {
    Device device;
    const Buffer<unsigned> y(device.stream, 32);
    launch(device.execution, halves, {1, 32}, y.data());
    const std::vector<unsigned> values = y.values();
    CHECK(values[0] == 120 && values[15] == 120);
    CHECK(values[16] == 31 && values[31] == 31);
  });
  test("votes and reductions", [] {
    Device device;
    const Buffer<unsigned> y(device.stream, 256);
    launch(device.execution, votes, {1, 32}, y.data());
    const std::vector<unsigned> values = y.values();
    const unsigned want[8] = {0x49249249, 1, 0, 1, 0, 496, 93, 5};
    int wrong = 0;
    for (size_t i = 0; i < 256; ++i) wrong += values[i] != want[i / 32];
    CHECK(wrong == 0);
  });
  test("a block that is not whole warps", [] {
    Device device;
    const Buffer<unsigned> y(device.stream, 40);
    launch(device.execution, partial_warp, {1, 40}, y.data());
    const std::vector<unsigned> values = y.values();
    CHECK(values[0] == 0xffffffffu + 3);
    CHECK(values[39] == 0xff + 35);
  });
  test_in_all_orders("__syncwarp orders shared memory", [] {
    Device device;
    const Buffer<unsigned> y(device.stream, 192);
    launch(device.execution, reverse, {1, 64}, y.data());
    const std::vector<unsigned> values = y.values();
    int wrong = 0;
    for (unsigned i = 0; i < 192; ++i) wrong += values[i] != ((i % 64) ^ 31) + i / 64;
    CHECK(wrong == 0);
  });
  test("sums and maxima of warps", [] {
    Device device;
    std::vector<float> x;
    for (int i = 0; i < 32; ++i) x.push_back(static_cast<float>(i * 7 % 32));
    const Buffer<float> from(device.stream, x), to(device.stream, 96);
    launch(device.execution, reductions, {1, 32}, from.data(), to.data());
    const std::vector<float> y = to.values();
    CHECK(y[0] == 496 && y[31] == 496 && y[32] == 31 && y[63] == 31);
    CHECK(y[64] == x[0] + x[1] + x[2] + x[3] && y[95] == x[28] + x[29] + x[30] + x[31]);
  });
  test("bit functions", [] {
    Device device;
    const Buffer<int> y(device.stream, 8);
    launch(device.execution, bits, {1, 1}, y.data());
    const std::vector<int> want = {8, 4, 31, 32, static_cast<int>(0x80000000u), 0x77552211, 3, 3};
    CHECK(y.values() == want);
  });
}

}  // namespace kvasir::cuda::test
