#include "device.h"
#include "tests.h"
#include "types/tiles.h"

namespace kvasir::cuda::test {

namespace {

// d (64,N) of a warpgroup, to y row-major.
template <int N>
__device__ void store_sums(const float (&d)[N / 2], float* y) {
  const int warp = static_cast<int>(threadIdx.x) / 32 % 4, lane = static_cast<int>(threadIdx.x) % 32;
  const int row = 16 * warp + lane / 4;
  for (int i = 0; i < N / 8; ++i) {
    const int col = 8 * i + lane % 4 * 2;
    y[row * N + col] = d[4 * i];
    y[row * N + col + 1] = d[4 * i + 1];
    y[(row + 8) * N + col] = d[4 * i + 2];
    y[(row + 8) * N + col + 1] = d[4 * i + 3];
  }
}

// `tiles` tiles of 8 KiB from device to shared memory, by ordinary stores.
__device__ inline void fetch(char* to, const void* from, int tiles) {
  const uint4* x = static_cast<const uint4*>(from);
  for (int i = static_cast<int>(threadIdx.x); i < tiles * 512; i += static_cast<int>(blockDim.x)) {
    reinterpret_cast<uint4*>(to)[i] = x[i];
  }
  ptx::fence_async_proxy();
}

constexpr int kTile = static_cast<int>(kTileBytes);

// y (64,N) = a b^T, + itself a second time: a (64,128) and b (N,128) in tiles of 64 rows.
template <class T, int N>
__global__ void shared_operands(const void* a, const void* b, float* y) {
  ptx::wait_for_predecessor();
  constexpr int kTilesB = (N + 63) / 64;
  char* shared = dynamic_shared<char>();
  const uint32_t at = ptx::shared_address(shared);
  fetch(shared, a, 2);
  fetch(shared + 2 * kTile, b, 2 * kTilesB);
  __syncthreads();
  float d[N / 2];
  for (int twice = 0; twice < 2; ++twice) {
    ptx::pin(d);
    ptx::wgmma_fence();
    for (int k = 0; k < 8; ++k) {
      // The tiles of 64 columns of b's rows are kTile apart, its groups of 64 rows two of them.
      const uint32_t column = static_cast<uint32_t>(k / 4 * kTile + k % 4 * 32);
      const uint64_t a_at = ptx::matrix_descriptor(at + column, 16, 1024);
      const uint64_t b_at = ptx::matrix_descriptor(
          at + 2 * kTile + static_cast<uint32_t>(k / 4 * kTilesB * kTile + k % 4 * 32), 16, 1024);
      ptx::wgmma<T, N>(d, a_at, b_at, twice > 0 || k > 0);
    }
    ptx::wgmma_commit();
    ptx::wgmma_wait<0>();
    ptx::pin(d);
  }
  store_sums<N>(d, y);
}

// W (rows, 64 cols) of an operand at columns [64 half, 64 half + 64), 128-byte swizzled.
template <class T>
void put_tiles(std::vector<T>& to, const std::vector<T>& x, int rows, int cols) {
  const int row_tiles = (rows + 63) / 64;
  to.assign(static_cast<size_t>(row_tiles * (cols / 64)) * 4096, T{0});
  for (int r = 0; r < rows; ++r) {
    for (int c = 0; c < cols; ++c) {
      const int tile = c / 64 * row_tiles + r / 64;
      const int64_t place = tile_index(DType::kBF16, 64, r % 64, c % 64);
      to[static_cast<size_t>(tile * 4096 + place)] = x[static_cast<size_t>(r * cols + c)];
    }
  }
}

template <class T, int N>
void check_shared_operands() {
  Device device(90);
  const std::vector<T> a = random_values<T>(64 * 128, 1), b = random_values<T>(N * 128, 2);
  std::vector<T> a_tiles, b_tiles;
  put_tiles(a_tiles, a, 64, 128);
  put_tiles(b_tiles, b, N, 128);
  const Buffer<T> from_a(device.stream, a_tiles), from_b(device.stream, b_tiles);
  const Buffer<float> to(device.stream, 64 * N);
  const int bytes = static_cast<int>((a_tiles.size() + b_tiles.size()) * 2);
  launch(device.execution, shared_operands<T, N>, {1, 128, bytes}, from_a.data(), from_b.data(), to.data());
  std::vector<float> want(64 * N, 0.0f);
  for (int twice = 0; twice < 2; ++twice) multiply(want, a, b, 64, N, 128);
  CHECK(same_bits(to.values(), want));
}

// y (64,N) = a b: a (64,64) row-major in registers; b K-major (N,64) or, transposed, (64,N): 64 rows of 64 columns in
// each tile.
template <class T, int N, bool kTransposeB>
__global__ void register_operand(const T* a, const void* b, float* y) {
  ptx::wait_for_predecessor();
  char* shared = dynamic_shared<char>();
  const uint32_t at = ptx::shared_address(shared);
  fetch(shared, b, (N + 63) / 64);
  __syncthreads();
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const T* row = a + (16 * (static_cast<int>(threadIdx.x) / 32) + lane / 4) * 64 + lane % 4 * 2;
  const auto pair = [](const T* p) { return p[0].bits | static_cast<uint32_t>(p[1].bits) << 16; };
  float d[N / 2];
  for (int i = 0; i < N / 2; ++i) d[i] = 1.0f;
  uint32_t af[4][4];
  for (int k = 0; k < 4; ++k) {
    af[k][0] = pair(row + 16 * k);
    af[k][1] = pair(row + 8 * 64 + 16 * k);
    af[k][2] = pair(row + 16 * k + 8);
    af[k][3] = pair(row + 8 * 64 + 16 * k + 8);
  }
  ptx::pin(d);
  ptx::wgmma_fence();
  for (int k = 0; k < 4; ++k) {
    const uint64_t b_at = kTransposeB
                              ? ptx::matrix_descriptor(at + static_cast<uint32_t>(k * 2048), kTile, 1024)
                              : ptx::matrix_descriptor(at + static_cast<uint32_t>(k * 32), 16, 1024);
    ptx::wgmma<T, N, kTransposeB>(d, af[k], b_at, true);
  }
  ptx::wgmma_commit();
  ptx::wgmma_wait<0>();
  ptx::pin(d);
  store_sums<N>(d, y);
}

template <class T, int N, bool kTransposeB>
void check_register_operand() {
  Device device(90);
  const std::vector<T> a = random_values<T>(64 * 64, 3), b = random_values<T>(N * 64, 4);  // b (N,64)
  std::vector<T> b_tiles;
  if (kTransposeB) {
    std::vector<T> transposed(static_cast<size_t>((N + 63) / 64 * 64) * 64, T{0});
    for (int n = 0; n < N; ++n) {
      for (int k = 0; k < 64; ++k)
        transposed[static_cast<size_t>(k * ((N + 63) / 64 * 64) + n)] = b[static_cast<size_t>(n * 64 + k)];
    }
    put_tiles(b_tiles, transposed, 64, (N + 63) / 64 * 64);
  } else {
    put_tiles(b_tiles, b, N, 64);
  }
  const Buffer<T> from_a(device.stream, a), from_b(device.stream, b_tiles);
  const Buffer<float> to(device.stream, 64 * N);
  launch(device.execution, register_operand<T, N, kTransposeB>,
         {1, 128, static_cast<int>(b_tiles.size() * 2)}, from_a.data(), from_b.data(), to.data());
  std::vector<float> want(64 * N, 1.0f);
  multiply(want, a, b, 64, N, 64);
  CHECK(same_bits(to.values(), want));
}

// Two warpgroups, each with two groups of products under way; the shared memory of the first is written again
// as soon as it is done.
__global__ void two_groups(const void* a, const void* b, float* y) {
  ptx::wait_for_predecessor();
  char* shared = dynamic_shared<char>() + threadIdx.x / 128 * 4 * kTile;
  const uint32_t at = ptx::shared_address(shared);
  const int id = 1 + static_cast<int>(threadIdx.x) / 128;
  const uint4* x = static_cast<const uint4*>(a) + threadIdx.x / 128 * 1024;
  const uint4* w = static_cast<const uint4*>(b);
  const int t = static_cast<int>(threadIdx.x) % 128;
  for (int i = t; i < 1024; i += 128) {
    reinterpret_cast<uint4*>(shared)[i] = x[i];
    reinterpret_cast<uint4*>(shared)[1024 + i] = w[i];
  }
  ptx::fence_async_proxy();
  ptx::barrier_sync(id, 128);
  float first[32], second[32];
  ptx::wgmma_fence();
  for (int k = 0; k < 4; ++k) {
    const uint32_t column = static_cast<uint32_t>(k * 32);
    ptx::wgmma<bf16, 64>(first, ptx::matrix_descriptor(at + column, 16, 1024),
                         ptx::matrix_descriptor(at + 2 * kTile + column, 16, 1024), k > 0);
  }
  ptx::wgmma_commit();
  for (int k = 0; k < 4; ++k) {
    const uint32_t column = static_cast<uint32_t>(kTile + k * 32);
    ptx::wgmma<bf16, 64>(second, ptx::matrix_descriptor(at + column, 16, 1024),
                         ptx::matrix_descriptor(at + 2 * kTile + column, 16, 1024), k > 0);
  }
  ptx::wgmma_commit();
  ptx::wgmma_wait<1>();
  ptx::pin(first);
  ptx::barrier_sync(id, 128);
  for (int i = t; i < 512; i += 128) reinterpret_cast<uint4*>(shared)[i] = make_uint4(0, 0, 0, 0);
  store_sums<64>(first, y + threadIdx.x / 128 * 8192);
  ptx::wgmma_wait<0>();
  ptx::pin(second);
  store_sums<64>(second, y + threadIdx.x / 128 * 8192 + 4096);
}

void check_two_groups() {
  Device device(90);
  std::vector<bf16> a_tiles, b_tiles;
  const std::vector<bf16> b = random_values<bf16>(64 * 128, 6);
  put_tiles(b_tiles, b, 64, 128);
  const std::vector<bf16> a = random_values<bf16>(2 * 64 * 128, 5);
  std::vector<float> want(4 * 4096, 0.0f);
  for (int group = 0; group < 2; ++group) {
    const std::vector<bf16> own(a.begin() + group * 8192, a.begin() + (group + 1) * 8192);
    std::vector<bf16> tiles;
    put_tiles(tiles, own, 64, 128);
    a_tiles.insert(a_tiles.end(), tiles.begin(), tiles.end());
    for (int half = 0; half < 2; ++half) {
      for (int i = 0; i < 4096; ++i) {
        float& sum = want[static_cast<size_t>(group * 8192 + half * 4096 + i)];
        for (int k = 0; k < 64; k += 16) {
          sum = step16(sum, &own[static_cast<size_t>(i / 64 * 128 + half * 64 + k)], 1,
                       &b[static_cast<size_t>(i % 64 * 128 + half * 64 + k)], 1);
        }
      }
    }
  }
  const Buffer<bf16> from_a(device.stream, a_tiles), from_b(device.stream, b_tiles);
  const Buffer<float> to(device.stream, 4 * 4096);
  launch(device.execution, two_groups, {1, 256, 8 * kTile}, from_a.data(), from_b.data(), to.data());
  CHECK(same_bits(to.values(), want));
}

}  // namespace

void test_wgmma() {
  if (device_of(90) < 0) return;
  test_in_all_orders("wgmma of bf16, n 64", [] { check_shared_operands<bf16, 64>(); });
  test("wgmma of f16, n 8", [] { check_shared_operands<f16, 8>(); });
  test("wgmma of bf16, n 40", [] { check_shared_operands<bf16, 40>(); });
  test("wgmma of f16, n 128", [] { check_shared_operands<f16, 128>(); });
  test("wgmma of bf16, n 256", [] { check_shared_operands<bf16, 256>(); });
  test_in_all_orders("wgmma with A in registers, n 64", [] { check_register_operand<bf16, 64, false>(); });
  test("wgmma with A in registers, f16, n 96", [] { check_register_operand<f16, 96, false>(); });
  test_in_all_orders("wgmma with B transposed, n 64", [] { check_register_operand<bf16, 64, true>(); });
  test("wgmma with B transposed, f16, n 128", [] { check_register_operand<f16, 128, true>(); });
  test("wgmma with B transposed, n 80", [] { check_register_operand<bf16, 80, true>(); });
  test_in_all_orders("two groups of wgmma under way", [] { check_two_groups(); });
}

}  // namespace kvasir::cuda::test
