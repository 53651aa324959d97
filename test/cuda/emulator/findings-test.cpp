#include <stdexcept>
#include <string>

#include "device.h"
#include "tests.h"

// Kernels with mistakes that the emulator itself reports, with where.
namespace kvasir::cuda::test {

namespace {

__global__ void wrong_mask(int* y) { y[threadIdx.x] = __shfl_xor_sync(0xffffu, 1, 1); }

__global__ void shuffle_from_outside(int* y) {
  if (threadIdx.x < 16) y[threadIdx.x] = __shfl_sync(0xffffu, 1, 20);
}

__global__ void two_shuffles(int* y) {
  if (threadIdx.x < 16) {
    y[threadIdx.x] = __shfl_xor_sync(kAllLanes, 1, 1);
  } else {
    y[threadIdx.x] = __shfl_xor_sync(kAllLanes, 2, 1);
  }
}

__global__ void lanes_left_early(int* y) {
  if (threadIdx.x == 5) return;
  y[threadIdx.x] = __shfl_xor_sync(kAllLanes, 1, 1);
}

__global__ void two_barriers() {
  if (threadIdx.x < 64) {
    __syncthreads();
  } else {
    __syncthreads();
  }
}

__global__ void barrier_for_some() {
  if (threadIdx.x % 2 == 0) __syncthreads();
}

__global__ void wrong_count() { ptx::barrier_sync(1, threadIdx.x < 32 ? 64 : 96); }

__global__ void too_few_arrive() {
  if (threadIdx.x < 32) ptx::barrier_sync(3, 96);
  if (threadIdx.x >= 32) ptx::barrier_arrive(3, 96);
}

__global__ void nobody_copies() {
  const uint32_t barrier = ptx::shared_address(dynamic_shared<char>());
  if (threadIdx.x == 0) ptx::mbarrier_init(barrier, 1);
  __syncthreads();
  if (threadIdx.x == 0) ptx::mbarrier_expect(barrier, 64);
  ptx::mbarrier_wait(barrier, 0);
}

__global__ void no_barrier_there() { ptx::mbarrier_wait(ptx::shared_address(dynamic_shared<char>()), 0); }

__global__ void arrives_too_often() {
  const uint32_t barrier = ptx::shared_address(dynamic_shared<char>());
  if (threadIdx.x != 0) return;
  ptx::mbarrier_init(barrier, 1);
  ptx::mbarrier_expect(barrier, 16);
  ptx::mbarrier_arrive(barrier);
}

__global__ void leaves_copies(const char* x) {
  const uint32_t barrier = ptx::shared_address(dynamic_shared<char>());
  if (threadIdx.x != 0) return;
  ptx::mbarrier_init(barrier, 1);
  ptx::mbarrier_expect(barrier, 16);
  ptx::copy_bulk(barrier + 16, x, 16, barrier);
}

__global__ void forgets_predecessor() {}

// Waits for the launch before it among other things that threads wait for.
__global__ void prefetches(const uint4* weights, unsigned* y) {
  uint4* shared = dynamic_shared<uint4>();
  ptx::copy_async(ptx::shared_address(shared + threadIdx.x), weights + threadIdx.x);
  ptx::commit_copies();
  if (threadIdx.x < 32) ptx::wait_for_predecessor();
  ptx::wait_for_copies<0>();
  __syncthreads();
  ptx::wait_for_predecessor();
  if (threadIdx.x == 0) *y += shared[63].w;
}

__global__ void throws() { throw std::runtime_error("no more"); }

__global__ void outside_shared(uint32_t* y) {
  uint32_t r[4];
  ptx::ldmatrix_x4(r, ptx::shared_address(dynamic_shared<char>()) + 16 * threadIdx.x);
  y[threadIdx.x] = r[0];
}

__global__ void unaligned_copy(const char* x) {
  ptx::copy_async(ptx::shared_address(dynamic_shared<char>()), x + 4);
}

__global__ void not_shared(int* y) { *y = static_cast<int>(ptx::shared_address(y)); }

__global__ void no_fence() {
  float d[32] = {};
  const uint64_t at = ptx::matrix_descriptor(ptx::shared_address(dynamic_shared<char>()), 16, 1024);
  ptx::wgmma<bf16, 64>(d, at, at, false);
}

__global__ void no_wait(float* y) {
  float d[32] = {};
  const uint64_t at = ptx::matrix_descriptor(ptx::shared_address(dynamic_shared<char>()), 16, 1024);
  ptx::wgmma_fence();
  ptx::wgmma<bf16, 64>(d, at, at, false);
  ptx::wgmma_commit();
  y[threadIdx.x] = d[0];
}

__global__ void one_warp_alone() {
  float d[32] = {};
  const uint64_t at = ptx::matrix_descriptor(ptx::shared_address(dynamic_shared<char>()), 16, 1024);
  ptx::wgmma_fence();
  if (threadIdx.x < 32) ptx::wgmma<bf16, 64>(d, at, at, false);
  ptx::wgmma_commit();
  ptx::wgmma_wait<0>();
}

__global__ void store_on_old_device() {
  uint32_t r[4] = {};
  ptx::stmatrix_x4(ptx::shared_address(dynamic_shared<char>()), r);
}

// The error of a launch says `what`.
template <class... P>
void check_finding(Device& device, void (*kernel)(P...), LaunchShape shape, const std::string& what,
                   std::type_identity_t<P>... arguments) {
  const Error error = error_of([&] {
    launch(device.execution, kernel, shape, arguments...);
    device.stream.synchronize();
  });
  CHECK(error.kind == ErrorKind::kDevice);
  if (!CHECK(std::string(error.what()).find(what) != std::string::npos)) std::printf("  %s\n", error.what());
  device.stream.synchronize();  // the stream goes on
}

}  // namespace

void test_findings() {
  test("mistakes in warps", [] {
    Device device;
    const Buffer<int> y(device.stream, 32);
    check_finding(device, wrong_mask, {1, 32}, "__shfl_xor_sync with a mask that lacks the caller", y.data());
    check_finding(device, shuffle_from_outside, {1, 32}, "__shfl_sync: lane 0 shuffles from lane 20",
                  y.data());
    check_finding(device, two_shuffles, {1, 32}, "the warp diverged", y.data());
    check_finding(device, lanes_left_early, {1, 32}, "deadlock in block (0,0,0): threads 5 have ended",
                  y.data());
  });
  test("mistakes with barriers", [] {
    Device device;
    check_finding(device, two_barriers, {1, 96}, "divergent barrier");
    check_finding(device, barrier_for_some, {1, 32}, "divergent barrier");
    check_finding(device, wrong_count, {1, 64}, "barrier 1 of");
    check_finding(device, too_few_arrive, {1, 64}, "threads 0-31 wait in barrier_sync at findings-test.cpp:");
    check_finding(device, throws, {2, 64}, "the kernel threw: no more");
  });
  test("mistakes with shared memory", [] {
    Device device;
    const Buffer<uint32_t> y(device.stream, 32);
    check_finding(device, outside_shared, {1, 32, 511},
                  "ldmatrix_x4: bytes 496 to 511 of dynamic shared memory, which has 511", y.data());
    check_finding(device, unaligned_copy, {1, 1, 16}, "copy_async from an address that is 4 modulo 16",
                  reinterpret_cast<const char*>(y.data()));
    check_finding(device, not_shared, {1, 1, 16}, "shared_address of what is not",
                  reinterpret_cast<int*>(y.data()));
  });
  test("a launch that may overlap must wait for the one before", [] {
    Device device(80, true);
    check_finding(device, forgets_predecessor, {1, 32}, "no thread called wait_for_predecessor");
  });
  test("launches that begin early", [] {
    Device device(80, true);
    const Buffer<uint4> weights(device.stream, std::vector<uint4>(64, uint4{1, 2, 3, 4}));
    const Buffer<unsigned> y(device.stream, std::vector<unsigned>{0});
    for (int i = 0; i < 5; ++i) {
      launch(device.execution, prefetches, {1, 64, 1024}, weights.data(), y.data());
    }
    CHECK(y.values()[0] == 20);
    // Those that have begun when one fails are given up.
    for (int i = 0; i < 3; ++i) {
      launch(device.execution, throws, {1, 32});
      launch(device.execution, prefetches, {1, 64, 1024}, weights.data(), y.data());
      CHECK(error_of([&] { device.stream.synchronize(); }).kind == ErrorKind::kDevice);
    }
    launch(device.execution, prefetches, {1, 64, 1024}, weights.data(), y.data());
    CHECK(y.values()[0] == 24);
  });
  test("mistakes with mbarriers", [] {
    Device device(90);
    const Buffer<char> x(device.stream, 16);
    check_finding(device, nobody_copies, {1, 64, 8},
                  "threads 0-63 wait in mbarrier_wait for parity 0 at findings-test.cpp:");
    check_finding(device, no_barrier_there, {1, 32, 8}, "there is no mbarrier");
    check_finding(device, arrives_too_often, {1, 32, 8}, "more arrivals than the barrier counts");
    check_finding(device, leaves_copies, {1, 32, 32},
                  emulator::settings().lazy_copies ? "ended while bulk copies" : "", x.data());
    Device old;
    check_finding(old, nobody_copies, {1, 64, 8}, "mbarrier_init needs architecture 90");
  });
  test("mistakes with wgmma", [] {
    Device device(90);
    const Buffer<float> y(device.stream, 128);
    check_finding(device, no_fence, {1, 128, 16384}, "wgmma without wgmma_fence");
    check_finding(device, no_wait, {1, 128, 16384}, "wgmma groups that nobody waited for", y.data());
    check_finding(device, one_warp_alone, {1, 128, 16384}, "findings-test.cpp:");
    Device old;
    check_finding(old, no_fence, {1, 128, 16384}, "wgmma needs architecture 90");
    check_finding(old, store_on_old_device, {1, 32, 512}, "stmatrix_x4 needs architecture 90");
  });
}

}  // namespace kvasir::cuda::test
