#include "device.h"
#include "tests.h"

namespace kvasir::cuda::test {

namespace {

// n numbers reversed within pieces of 4 * blockDim.x, through a ring of kStages pieces in shared memory.
template <int kStages>
__global__ void reverse_pieces(const float* x, float* y, int n) {
  ptx::wait_for_predecessor();
  float* ring = dynamic_shared<float>();
  const int threads = static_cast<int>(blockDim.x), t = static_cast<int>(threadIdx.x), piece = 4 * threads;
  const int pieces = (n + piece - 1) / piece;
  const auto fetch = [&](int i) {
    if (i < pieces) {
      const int at = i * piece + 4 * t;
      ptx::copy_async(ptx::shared_address(ring + i % kStages * piece + 4 * t), x + at, at < n);
    }
    ptx::commit_copies();
  };
  for (int i = 0; i < kStages - 1; ++i) fetch(i);
  for (int i = 0; i < pieces; ++i) {
    ptx::wait_for_copies<kStages - 2>();
    __syncthreads();
    fetch(i + kStages - 1);
    for (int j = t; j < piece; j += threads) {
      y[i * piece + j] = ring[i % kStages * piece + piece - 1 - j];
    }
  }
}

template <int kStages>
void check_ring() {
  Device device;
  constexpr int kThreads = 64, kPiece = 4 * kThreads, kCount = 5 * kPiece + 36, kRounded = 6 * kPiece;
  const std::vector<float> x = random_values<float>(kCount, 1);
  const Buffer<float> from(device.stream, x), to(device.stream, kRounded);
  launch(device.execution, reverse_pieces<kStages>, {1, kThreads, kStages * kPiece * 4}, from.data(),
         to.data(), kCount);
  std::vector<float> want;
  for (int i = 0; i < kRounded; ++i) {
    const size_t source = static_cast<size_t>(i / kPiece * kPiece + kPiece - 1 - i % kPiece);
    want.push_back(source < x.size() ? x[source] : 0.0f);
  }
  CHECK(same_bits(to.values(), want));
}

// Each group arrives when it is waited for, not the ones after it.
__global__ void groups(const uint4* x, uint4* y) {
  ptx::wait_for_predecessor();
  uint4* shared = dynamic_shared<uint4>();
  ptx::copy_async(ptx::shared_address(shared), x);
  ptx::commit_copies();
  ptx::copy_async(ptx::shared_address(shared + 1), x + 1);
  ptx::copy_async(ptx::shared_address(shared + 2), x + 2);
  ptx::commit_copies();
  ptx::wait_for_copies<1>();
  y[0] = shared[0];
  ptx::wait_for_copies<0>();
  y[1] = shared[1];
  y[2] = shared[2];
}

}  // namespace

void test_copies() {
  test_in_all_orders("copy_async through two stages", [] { check_ring<2>(); });
  test_in_all_orders("copy_async through four stages", [] { check_ring<4>(); });
  test_in_all_orders("groups of copies", [] {
    Device device;
    const std::vector<uint4> x = {{1, 2, 3, 4}, {5, 6, 7, 8}, {9, 10, 11, 12}};
    const Buffer<uint4> from(device.stream, x), to(device.stream, 3);
    launch(device.execution, groups, {1, 1, 48}, from.data(), to.data());
    CHECK(same_bits(to.values(), x));
  });
}

}  // namespace kvasir::cuda::test
