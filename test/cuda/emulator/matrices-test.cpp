#include "device.h"
#include "tests.h"

namespace kvasir::cuda::test {

namespace {

template <class T>
__device__ uint32_t pair_at(const T* p, int step) {
  return p[0].bits | static_cast<uint32_t>(p[step].bits) << 16;
}

// Fragments as the PTX manual draws them. a (16,16), b (16,8), d (16,8), all row-major; d is added to twice.
template <class T>
__global__ void multiply_fragments(const T* a, const T* b, float* d) {
  ptx::wait_for_predecessor();
  const int g = static_cast<int>(threadIdx.x) / 4, t = static_cast<int>(threadIdx.x) % 4;
  const uint32_t af[4] = {pair_at(a + g * 16 + 2 * t, 1), pair_at(a + (g + 8) * 16 + 2 * t, 1),
                          pair_at(a + g * 16 + 2 * t + 8, 1), pair_at(a + (g + 8) * 16 + 2 * t + 8, 1)};
  const uint32_t bf[2] = {pair_at(b + 2 * t * 8 + g, 8), pair_at(b + (2 * t + 8) * 8 + g, 8)};
  float* upper = d + g * 8 + 2 * t;
  float* lower = d + (g + 8) * 8 + 2 * t;
  float sums[4] = {upper[0], upper[1], lower[0], lower[1]};
  ptx::mma<T>(sums, af, bf);
  ptx::mma<T>(sums, af, bf);
  upper[0] = sums[0];
  upper[1] = sums[1];
  lower[0] = sums[2];
  lower[1] = sums[3];
}

template <class T>
void check_mma() {
  Device device;
  for (unsigned seed = 1; seed <= 4; ++seed) {
    const std::vector<T> a = random_values<T>(256, seed), b = random_values<T>(128, seed + 100);
    std::vector<float> d = random_values<float>(128, seed + 200);
    const Buffer<T> from_a(device.stream, a), from_b(device.stream, b);
    const Buffer<float> to(device.stream, d);
    launch(device.execution, multiply_fragments<T>, {1, 32}, from_a.data(), from_b.data(), to.data());
    for (int twice = 0; twice < 2; ++twice) {
      for (int i = 0; i < 128; ++i) {
        float& sum = d[static_cast<size_t>(i)];
        sum = step16(sum, &a[static_cast<size_t>(i / 8 * 16)], 1, &b[static_cast<size_t>(i % 8)], 8);
      }
    }
    CHECK(same_bits(to.values(), d));
  }
}

// (32,32) 16-bit numbers through shared memory in rows of 40: each warp loads the 8x8 matrices of one column of
// them in every way. y: for each way, each register, each lane.
__global__ void load_matrices(const uint16_t* x, uint32_t* y) {
  ptx::wait_for_predecessor();
  constexpr int kStride = 40;
  uint16_t* shared = dynamic_shared<uint16_t>();
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  for (int i = static_cast<int>(threadIdx.x); i < 1024; i += 128) shared[i / 32 * kStride + i % 32] = x[i];
  __syncthreads();
  const uint32_t address = ptx::shared_address(shared + lane * kStride + 8 * warp);
  uint32_t four[4], two[2];
  y += warp * 12 * 32 + lane;
  ptx::ldmatrix_x4(four, address);
  for (int i = 0; i < 4; ++i) y[i * 32] = four[i];
  ptx::ldmatrix_x4_trans(four, address);
  for (int i = 0; i < 4; ++i) y[(4 + i) * 32] = four[i];
  ptx::ldmatrix_x2(two, address);
  for (int i = 0; i < 2; ++i) y[(8 + i) * 32] = two[i];
  ptx::ldmatrix_x2_trans(two, address);
  for (int i = 0; i < 2; ++i) y[(10 + i) * 32] = two[i];
}

void check_load_matrices() {
  Device device;
  std::vector<uint16_t> x;
  for (int i = 0; i < 1024; ++i) x.push_back(static_cast<uint16_t>(i * 37));
  const Buffer<uint16_t> from(device.stream, x);
  const Buffer<uint32_t> to(device.stream, 4 * 12 * 32);
  launch(device.execution, load_matrices, {1, 128, 32 * 80}, from.data(), to.data());
  const std::vector<uint32_t> y = to.values();
  int wrong = 0;
  for (size_t warp = 0; warp < 4; ++warp) {
    const auto at = [&](size_t matrix, size_t row, size_t col) {
      return x[(8 * matrix + row) * 32 + 8 * warp + col];
    };
    for (size_t lane = 0; lane < 32; ++lane) {
      const size_t g = lane / 4, t = lane % 4;
      for (size_t way = 0; way < 12; ++way) {
        const bool transposed = (way >= 4 && way < 8) || way >= 10;
        const size_t matrix = way < 8 ? way % 4 : way % 2;
        const uint16_t low = transposed ? at(matrix, 2 * t, g) : at(matrix, g, 2 * t);
        const uint16_t high = transposed ? at(matrix, 2 * t + 1, g) : at(matrix, g, 2 * t + 1);
        wrong += y[(warp * 12 + way) * 32 + lane] != (low | static_cast<uint32_t>(high) << 16);
      }
    }
  }
  CHECK(wrong == 0);
}

__global__ void store_matrices(const uint32_t* x, uint16_t* y) {
  ptx::wait_for_predecessor();
  uint16_t* shared = dynamic_shared<uint16_t>();
  const int lane = static_cast<int>(threadIdx.x);
  uint32_t registers[4];
  for (int i = 0; i < 4; ++i) registers[i] = x[i * 32 + lane];
  ptx::stmatrix_x4(ptx::shared_address(shared + 8 * lane), registers);
  ptx::stmatrix_x4_trans(ptx::shared_address(shared + 256 + 8 * lane), registers);
  __syncwarp();
  for (int i = lane; i < 512; i += 32) y[i] = shared[i];
}

void check_store_matrices() {
  Device device(90);
  std::vector<uint32_t> x;
  for (uint32_t i = 0; i < 128; ++i) x.push_back(i * 0x01234567u);
  const Buffer<uint32_t> from(device.stream, x);
  const Buffer<uint16_t> to(device.stream, 512);
  launch(device.execution, store_matrices, {1, 32, 1024}, from.data(), to.data());
  const std::vector<uint16_t> y = to.values();
  int wrong = 0;
  for (size_t matrix = 0; matrix < 4; ++matrix) {
    for (size_t lane = 0; lane < 32; ++lane) {
      const size_t g = lane / 4, t = lane % 4;
      for (size_t half = 0; half < 2; ++half) {
        const uint16_t want = static_cast<uint16_t>(x[matrix * 32 + lane] >> 16 * half);
        wrong += y[matrix * 64 + g * 8 + 2 * t + half] != want;
        wrong += y[256 + matrix * 64 + (2 * t + half) * 8 + g] != want;
      }
    }
  }
  CHECK(wrong == 0);
}

__global__ void special_numbers(float* y) {
  ptx::wait_for_predecessor();
  const float x = threadIdx.x == 0 ? NAN : threadIdx.x == 1 ? INFINITY : threadIdx.x == 2 ? -200.0f : 3.0f;
  y[threadIdx.x] = ptx::exp2_approximate(x);
}

__global__ void stream_loads(const uint4* x, uint4* y) {
  ptx::wait_for_predecessor();
  y[threadIdx.x] = ptx::load_stream(x + threadIdx.x);
}

}  // namespace

void test_matrices() {
  test_in_all_orders("mma of bf16", [] { check_mma<bf16>(); });
  test("mma of f16", [] { check_mma<f16>(); });
  test_in_all_orders("ldmatrix", [] { check_load_matrices(); });
  if (device_of(90) >= 0) test_in_all_orders("stmatrix", [] { check_store_matrices(); });
  test("ex2.approx", [] {
    Device device;
    const Buffer<float> y(device.stream, 4);
    launch(device.execution, special_numbers, {1, 4}, y.data());
    const std::vector<float> values = y.values();
    CHECK(std::isnan(values[0]) && std::isinf(values[1]) && values[2] == 0 &&
          std::fabs(values[3] - 8) < 1e-5f);
  });
  test("loads of streams", [] {
    Device device;
    std::vector<uint4> x;
    for (unsigned i = 0; i < 32; ++i) x.push_back({i, 2 * i, 3 * i, 4 * i});
    const Buffer<uint4> from(device.stream, x), to(device.stream, 32);
    launch(device.execution, stream_loads, {1, 32}, from.data(), to.data());
    CHECK(same_bits(to.values(), x));
  });
}

}  // namespace kvasir::cuda::test
