#include <cstdio>
#include <cstring>
#include <functional>
#include <map>
#include <string>

#include "device.h"
#include "tests.h"

// Kernels with planted bugs that wrong numbers or a sanitizer must show. scripts/test-emulator.mjs knows which.
namespace kvasir::cuda::test {

namespace {

constexpr int kThreads = 128, kRounds = 4;

// y[r] = sum of x[r * kThreads ..], without one of the barriers that block_sum has.
template <bool kBarrierBefore, bool kBarrierAfter>
__global__ void sums(const float* x, float* y) {
  __shared__ float parts[4];
  for (int round = 0; round < kRounds; ++round) {
    const float sum = warp_sum(x[round * kThreads + static_cast<int>(threadIdx.x)]);
    if constexpr (kBarrierBefore) __syncthreads();
    if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = sum;
    if constexpr (kBarrierAfter) __syncthreads();
    if (threadIdx.x == 0) y[round] = parts[0] + parts[1] + parts[2] + parts[3];
  }
}

template <bool kBarrierBefore, bool kBarrierAfter>
bool run_sums() {
  Device device;
  std::vector<float> x;
  for (int i = 0; i < kThreads * kRounds; ++i) x.push_back(static_cast<float>(i));
  const Buffer<float> from(device.stream, x), to(device.stream, kRounds);
  launch(device.execution, sums<kBarrierBefore, kBarrierAfter>, {1, kThreads}, from.data(), to.data());
  const std::vector<float> y = to.values();
  bool right = true;
  for (int r = 0; r < kRounds; ++r)
    right &=
        y[static_cast<size_t>(r)] == static_cast<float>(kThreads * (kThreads * r + (kThreads - 1) / 2.0));
  return right;
}

// y = x, each thread copies 16 bytes that its neighbour of the next warp stores: kStages - 1 copies under way.
enum class RingBug { kNone, kNoWait, kNoBarrier, kWaitTooLate };
template <RingBug kBug>
__global__ void ring(const float* x, float* y, int pieces) {
  constexpr int kStages = 2, kPiece = 4 * kThreads;
  float* shared = dynamic_shared<float>();
  const int t = static_cast<int>(threadIdx.x), other = (t + 32) % kThreads;
  const auto fetch = [&](int i) {
    if (i < pieces) {
      ptx::copy_async(ptx::shared_address(shared + i % kStages * kPiece + 4 * t), x + i * kPiece + 4 * t);
    }
    ptx::commit_copies();
  };
  fetch(0);
  for (int i = 0; i < pieces; ++i) {
    fetch(i + 1);
    if constexpr (kBug == RingBug::kWaitTooLate) ptx::wait_for_copies<2>();
    if constexpr (kBug == RingBug::kNone || kBug == RingBug::kNoBarrier) ptx::wait_for_copies<1>();
    __syncthreads();
    for (int j = 0; j < 4; ++j) y[i * kPiece + 4 * other + j] = shared[i % kStages * kPiece + 4 * other + j];
    if constexpr (kBug != RingBug::kNoBarrier) __syncthreads();
  }
}

template <RingBug kBug>
bool run_ring() {
  Device device;
  constexpr int kPieces = 6;
  const std::vector<float> x = random_values<float>(kPieces * 4 * kThreads, 1);
  const Buffer<float> from(device.stream, x), to(device.stream, kPieces * 4 * kThreads);
  launch(device.execution, ring<kBug>, {1, kThreads, 2 * 16 * kThreads}, from.data(), to.data(), kPieces);
  return same_bits(to.values(), x);
}

// Reads rows of shared memory by ldmatrix while the next ones are being written.
template <bool kBarrier>
__global__ void matrices(const uint32_t* x, uint32_t* y) {
  uint32_t* shared = dynamic_shared<uint32_t>();
  const int t = static_cast<int>(threadIdx.x);
  for (int round = 0; round < kRounds; ++round) {
    for (int i = 0; i < 4; ++i) shared[4 * t + i] = x[(round * 64 + t) * 4 + i];
    __syncthreads();
    uint32_t r[4];
    ptx::ldmatrix_x4(r, ptx::shared_address(shared + 4 * ((t + 32) % 64)));
    for (int i = 0; i < 4; ++i) y[(round * 64 + t) * 4 + i] = r[i];
    if constexpr (kBarrier) __syncthreads();
  }
}

template <bool kBarrier>
bool run_matrices() {
  Device device;
  std::vector<uint32_t> x;
  for (uint32_t i = 0; i < kRounds * 256; ++i) x.push_back(i);
  const Buffer<uint32_t> from(device.stream, x), to(device.stream, kRounds * 256);
  launch(device.execution, matrices<kBarrier>, {1, 64, 1024}, from.data(), to.data());
  const std::vector<uint32_t> y = to.values();
  bool right = true;
  for (uint32_t i = 0; i < y.size(); ++i) {
    const uint32_t round = i / 256, lane = i / 4 % 32, warp = i / 128 % 2, j = i % 4;
    const uint32_t row = (warp ^ 1) * 32 + 8 * j + lane / 4;
    right &= y[i] == round * 256 + row * 4 + lane % 4;
  }
  return right;
}

// The consumers never tell that a stage is free; or the producer does not wait until it is.
enum class BulkBug { kNone, kNoWaitForFree, kNoWaitForFull, kEarlyRelease };
template <BulkBug kBug>
__global__ void bulk_ring(const float* x, float* y, int pieces) {
  constexpr int kPiece = 128;
  float* shared = dynamic_shared<float>();
  const uint32_t at = ptx::shared_address(shared), full = at + 2 * kPiece * 4, free = full + 16;
  const int t = static_cast<int>(threadIdx.x);
  if (t == 0) {
    for (uint32_t i = 0; i < 2; ++i) {
      ptx::mbarrier_init(full + 8 * i, 1);
      ptx::mbarrier_init(free + 8 * i, 32);
    }
    ptx::fence_mbarrier_init();
  }
  __syncthreads();
  for (int i = 0; i < pieces; ++i) {
    const uint32_t stage = static_cast<uint32_t>(i % 2), phase = static_cast<uint32_t>(i / 2 % 2);
    if (t == 32) {
      if (kBug != BulkBug::kNoWaitForFree) ptx::mbarrier_wait(free + 8 * stage, phase ^ 1);
      ptx::mbarrier_expect(full + 8 * stage, kPiece * 4);
      ptx::copy_bulk(at + stage * kPiece * 4, x + i * kPiece, kPiece * 4, full + 8 * stage);
    }
    if (t < 32) {
      if (kBug != BulkBug::kNoWaitForFull) ptx::mbarrier_wait(full + 8 * stage, phase);
      if (kBug == BulkBug::kEarlyRelease) ptx::mbarrier_arrive(free + 8 * stage);
      for (int j = t; j < kPiece; j += 32) y[i * kPiece + j] = shared[static_cast<int>(stage) * kPiece + j];
      if (kBug != BulkBug::kEarlyRelease) ptx::mbarrier_arrive(free + 8 * stage);
    }
  }
  __syncthreads();
  if (kBug == BulkBug::kNoWaitForFull && t == 0) {
    for (uint32_t i = 0; i < 2; ++i)
      ptx::mbarrier_wait(full + 8 * i, static_cast<uint32_t>((pieces - 1) / 2 % 2));
  }
}

template <BulkBug kBug>
bool run_bulk_ring() {
  Device device(90);
  constexpr int kPieces = 8;
  const std::vector<float> x = random_values<float>(kPieces * 128, 2);
  const Buffer<float> from(device.stream, x), to(device.stream, kPieces * 128);
  launch(device.execution, bulk_ring<kBug>, {1, 64, 2 * 512 + 32}, from.data(), to.data(), kPieces);
  return same_bits(to.values(), x);
}

// B is written again before the products that read it are done; or the sums are read before.
enum class ProductBug { kNone, kEarlyWrite, kEarlyRead, kEarlyScale };
template <ProductBug kBug>
__global__ void products(float* y) {
  uint32_t* shared = dynamic_shared<uint32_t>();
  const uint32_t at = ptx::shared_address(shared);
  const int t = static_cast<int>(threadIdx.x);
  for (int i = t; i < 4096; i += 128) shared[i] = 0x3f803f80;  // ones
  ptx::fence_async_proxy();
  __syncthreads();
  float d[32];
  for (int i = 0; i < 32; ++i) d[i] = 1;
  const uint64_t a = ptx::matrix_descriptor(at, 16, 1024), b = ptx::matrix_descriptor(at + 8192, 16, 1024);
  ptx::pin(d);
  ptx::wgmma_fence();
  ptx::wgmma<bf16, 64>(d, a, b, true);
  ptx::wgmma_commit();
  if (kBug == ProductBug::kEarlyWrite) {
    for (int i = t; i < 2048; i += 128) shared[2048 + i] = 0;
  }
  if (kBug == ProductBug::kEarlyScale) d[0] *= 2;
  float first = 0;
  if (kBug == ProductBug::kEarlyRead) first = d[0];
  ptx::wgmma_wait<0>();
  ptx::pin(d);
  if (kBug == ProductBug::kEarlyScale) d[0] /= 2;
  if (kBug != ProductBug::kEarlyRead) first = d[0];
  y[t] = first;
}

template <ProductBug kBug>
bool run_products() {
  Device device(90);
  const Buffer<float> y(device.stream, 128);
  launch(device.execution, products<kBug>, {1, 128, 16384}, y.data());
  return y.values() == std::vector<float>(128, 17.0f);
}

__global__ void write_at(float* y, int i) {
  if (threadIdx.x == 3) y[i] = 1;
}
__global__ void read_at(const float* x, float* y, int i) {
  if (threadIdx.x == 3) y[0] = x[i];
}
__global__ void write_shared(float* y, int i) {
  dynamic_shared<float>()[threadIdx.x] = 1;
  if (threadIdx.x == 3) dynamic_shared<float>()[i] = 1;
  __syncthreads();
  y[threadIdx.x] = dynamic_shared<float>()[threadIdx.x];
}
__global__ void write_static(float* y, int i) {
  __shared__ float values[32];
  values[threadIdx.x] = 1;
  if (threadIdx.x == 3) values[i] = 1;
  __syncthreads();
  y[threadIdx.x] = values[threadIdx.x];
}
__global__ void copy_from(const float* x, float* y, int i) {
  float* shared = dynamic_shared<float>();
  if (threadIdx.x == 3) ptx::copy_async(ptx::shared_address(shared), x + i);
  ptx::commit_copies();
  ptx::wait_for_copies<0>();
  __syncthreads();
  y[threadIdx.x] = shared[0];
}

// An access at `i` by the kernel.
bool run_at(void (*kernel)(float*, int), int i) {
  Device device;
  const Buffer<float> y(device.stream, 32);
  launch(device.execution, kernel, {1, 32, 128}, y.data(), i);
  y.values();
  return true;
}
bool run_reading(void (*kernel)(const float*, float*, int), int i) {
  Device device;
  const Buffer<float> x(device.stream, 37), y(device.stream, 32);
  launch(device.execution, kernel, {1, 32, 128}, x.data(), y.data(), i);
  y.values();
  return true;
}

// Reads what the kernel before wrote; without waiting for it if there is a bug.
template <bool kWaits>
__global__ void add_one(const float* x, float* y) {
  const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  if constexpr (kWaits) ptx::wait_for_predecessor();
  y[i] = x[i] + 1.0f;
  if constexpr (!kWaits) ptx::wait_for_predecessor();
}

template <bool kWaits>
bool run_overlapped() {
  Device device(90, true);
  const std::vector<float> x(256, 1.0f);
  const Buffer<float> a(device.stream, x), b(device.stream, 256);
  for (int i = 0; i < 4; ++i) {
    launch(device.execution, add_one<kWaits>, {4, 64}, i % 2 == 0 ? a.data() : b.data(),
           i % 2 == 0 ? b.data() : a.data());
  }
  return a.values() == std::vector<float>(256, 5.0f);
}

// Neighbouring blocks write the same element.
template <bool kOverlap>
__global__ void blocks_overlap(float* y) {
  const unsigned count = blockDim.x + (kOverlap ? 1 : 0);
  if (threadIdx.x != 0) return;
  for (unsigned i = 0; i < count; ++i) y[blockIdx.x * blockDim.x + i] = 1;
}

template <bool kOverlap>
bool run_blocks() {
  Device device;
  const Buffer<float> y(device.stream, 8 * 32 + 1);
  launch(device.execution, blocks_overlap<kOverlap>, {8, 32}, y.data());
  y.values();
  return true;
}

const std::map<std::string, std::function<bool()>>& bugs() {
  static const std::map<std::string, std::function<bool()>> bugs = {
      {"sums", run_sums<true, true>},
      {"sums-read-too-early", run_sums<true, false>},
      {"sums-written-too-early", run_sums<false, true>},
      {"ring", run_ring<RingBug::kNone>},
      {"ring-no-wait", run_ring<RingBug::kNoWait>},
      {"ring-waits-for-one-less", run_ring<RingBug::kWaitTooLate>},
      {"ring-no-barrier", run_ring<RingBug::kNoBarrier>},
      {"matrices", run_matrices<true>},
      {"matrices-written-too-early", run_matrices<false>},
      {"bulk", run_bulk_ring<BulkBug::kNone>},
      {"bulk-no-wait-for-free", run_bulk_ring<BulkBug::kNoWaitForFree>},
      {"bulk-no-wait-for-full", run_bulk_ring<BulkBug::kNoWaitForFull>},
      {"bulk-released-too-early", run_bulk_ring<BulkBug::kEarlyRelease>},
      {"products", run_products<ProductBug::kNone>},
      {"products-written-too-early", run_products<ProductBug::kEarlyWrite>},
      {"products-read-too-early", run_products<ProductBug::kEarlyRead>},
      {"products-scaled-too-early", run_products<ProductBug::kEarlyScale>},
      {"write-past-the-end", [] { return run_at(write_at, 32); }},
      {"write-before-the-start", [] { return run_at(write_at, -1); }},
      {"read-past-the-end", [] { return run_reading(read_at, 37); }},
      {"shared-past-the-end", [] { return run_at(write_shared, 32); }},
      {"static-shared-past-the-end", [] { return run_at(write_static, 32); }},
      {"copy-past-the-end", [] { return run_reading(copy_from, 36); }},
      {"overlapped", run_overlapped<true>},
      {"overlapped-reads-too-early", run_overlapped<false>},
      {"blocks", run_blocks<false>},
      {"blocks-overlap", run_blocks<true>},
  };
  return bugs;
}

}  // namespace

int run_bug(const char* name) {
  const auto bug = bugs().find(name);
  if (bug == bugs().end()) return 2;
  try {
    const bool right = bug->second();
    std::printf("%s\n", right ? "right numbers" : "wrong numbers");
    return right ? 0 : 3;
  } catch (const Error& error) {
    std::printf("%s\n", error.what());
    return 4;
  }
}

}  // namespace kvasir::cuda::test
