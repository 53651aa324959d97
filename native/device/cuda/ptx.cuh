#pragma once

#include <cstdint>
#include <type_traits>

#include "device/cuda/numbers.cuh"
#include "types/dtype.h"
#include "types/error.h"

// One function per PTX instruction, https://docs.nvidia.com/cuda/parallel-thread-execution: no inline assembly
// anywhere else. A function with "sync" or "aligned" in its instruction is for whole warps. Addresses in shared
// memory are 32 bits and lie in the dynamic part. What a device is too old for does nothing there, or traps if
// it had a result; launchers choose by Execution::architecture.

#ifdef KVASIR_CUDA_EMULATED

#include "device/cuda/emulator/ptx.h"

#else

#include "device/cuda/tensor-map.h"

namespace kvasir::cuda {

namespace ptx {

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
#define KVASIR_SM90 1
#else
#define KVASIR_SM90 0
#endif

__device__ __forceinline__ uint32_t shared_address(const void* p) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(p));
}

// Returns when the kernel before this one in the stream has ended, and its writes are visible.
__device__ __forceinline__ void wait_for_predecessor() {
#if KVASIR_SM90
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

// The next kernel's blocks may start where there is room, once every block called this or ended.
__device__ __forceinline__ void let_successor_start() {
#if KVASIR_SM90
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

// 16 bytes that are read once, past the first-level cache. The kernel must not write them.
__device__ __forceinline__ uint4 load_stream(const void* p) {
  uint4 v;
  asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(p));
  return v;
}

// 2^x, 2 ulp; subnormal results are 0.
__device__ __forceinline__ float exp2_approximate(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// d (16,8) += a (16,16) b (16,8). With g = lane / 4 and t = lane % 4:
//   a[0] a[1] a[2] a[3]   A[g][2t..]  A[g+8][2t..]  A[g][2t+8..]  A[g+8][2t+8..], two columns each
//   b[0] b[1]             B[2t..][g]  B[2t+8..][g], two rows each
//   d[0..1] d[2..3]       D[g][2t..]  D[g+8][2t..], two columns each
template <class T>
__device__ __forceinline__ void mma(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  if constexpr (std::is_same_v<T, bf16>) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  } else {
    static_assert(std::is_same_v<T, f16>);
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  }
}

// 8x8 matrices of 16-bit numbers: lane i gives the address of row i % 8 of matrix i / 8 (16 bytes, aligned) and
// gets in r[j] the columns 2t and 2t+1 of row g of matrix j, g = lane / 4, t = lane % 4; transposed: the rows
// 2t and 2t+1 of column g. x2 takes the addresses of lanes 0 to 15; the others' must be valid too.
__device__ __forceinline__ void ldmatrix_x4(uint32_t (&r)[4], uint32_t address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address)
               : "memory");
}
__device__ __forceinline__ void ldmatrix_x2(uint32_t (&r)[2], uint32_t address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
               : "=r"(r[0]), "=r"(r[1])
               : "r"(address)
               : "memory");
}
__device__ __forceinline__ void ldmatrix_x4_trans(uint32_t (&r)[4], uint32_t address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address)
               : "memory");
}
__device__ __forceinline__ void ldmatrix_x2_trans(uint32_t (&r)[2], uint32_t address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
               : "=r"(r[0]), "=r"(r[1])
               : "r"(address)
               : "memory");
}

// The inverse of ldmatrix. sm_90.
__device__ __forceinline__ void stmatrix_x4(uint32_t address, const uint32_t (&r)[4]) {
#if KVASIR_SM90
  asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(address), "r"(r[0]),
               "r"(r[1]), "r"(r[2]), "r"(r[3])
               : "memory");
#endif
}
__device__ __forceinline__ void stmatrix_x4_trans(uint32_t address, const uint32_t (&r)[4]) {
#if KVASIR_SM90
  asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(address),
               "r"(r[0]), "r"(r[1]), "r"(r[2]), "r"(r[3])
               : "memory");
#endif
}

// 16 bytes from device to shared memory, both aligned, past the first-level cache. There when
// wait_for_copies has returned, for the thread that asked; for others after a barrier.
__device__ __forceinline__ void copy_async(uint32_t to, const void* from) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(from) : "memory");
}
// Zeros where not `valid`; `from` is not read then.
__device__ __forceinline__ void copy_async(uint32_t to, const void* from, bool valid) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(valid ? 16 : 0)
               : "memory");
}
// The thread's copies since the last commit are a group.
__device__ __forceinline__ void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Returns when no more than the N latest groups are under way.
template <int N>
__device__ __forceinline__ void wait_for_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

// Barrier `id`, 1 to 15 (0 is __syncthreads), of `threads` threads, a multiple of 32: those that sync and those
// that arrive, counted together.
__device__ __forceinline__ void barrier_sync(int id, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}
__device__ __forceinline__ void barrier_arrive(int id, int threads) {
  asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

// sm_90 from here on.

// A barrier of 8 bytes whose phase completes after `count` arrivals and all bytes that were expected.
__device__ __forceinline__ void mbarrier_init(uint32_t barrier, int count) {
#if KVASIR_SM90
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(count) : "memory");
#endif
}
__device__ __forceinline__ void mbarrier_arrive(uint32_t barrier) {
#if KVASIR_SM90
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
#endif
}
// Arrives, and expects `bytes` more from copies in this phase.
__device__ __forceinline__ void mbarrier_expect(uint32_t barrier, uint32_t bytes) {
#if KVASIR_SM90
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes)
               : "memory");
#endif
}
// Returns once the phase of that parity has completed: 0 for the first, 1 for the second. On a fresh barrier,
// parity 1 returns at once.
__device__ __forceinline__ void mbarrier_wait(uint32_t barrier, uint32_t parity) {
#if KVASIR_SM90
  uint32_t done;
  do {
    asm volatile(
        "{\n"
        ".reg .pred done;\n"
        "mbarrier.try_wait.parity.shared::cta.b64 done, [%1], %2;\n"
        "selp.u32 %0, 1, 0, done;\n"
        "}"
        : "=r"(done)
        : "r"(barrier), "r"(parity)
        : "memory");
  } while (done == 0);
#endif
}
// After mbarrier_init: the copy engine sees the barriers.
__device__ __forceinline__ void fence_mbarrier_init() {
#if KVASIR_SM90
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
#endif
}
// In each thread that wrote shared memory with ordinary stores, before the barrier after which wgmma or the copy
// engine reads it.
__device__ __forceinline__ void fence_async_proxy() {
#if KVASIR_SM90
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#endif
}

// One thread asks for `bytes`, a multiple of 16; both addresses 16-byte aligned. Counts on `barrier`.
__device__ __forceinline__ void copy_bulk(uint32_t to, const void* from, uint32_t bytes, uint32_t barrier) {
#if KVASIR_SM90
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(to),
      "l"(from), "r"(bytes), "r"(barrier)
      : "memory");
#endif
}
// One thread asks for the box of `map` whose first element is (row, column), zeros where there is no matrix;
// `to` is 1024-byte aligned. All of the box counts on `barrier`, zeros too.
__device__ __forceinline__ void copy_tensor(uint32_t to, const TensorMap* map, int column, int row,
                                            uint32_t barrier) {
#if KVASIR_SM90
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%2, "
      "%3}], "
      "[%4];" ::"r"(to),
      "l"(map), "r"(column), "r"(row), "r"(barrier)
      : "memory");
#endif
}

// Where wgmma finds a matrix in shared memory, 128-byte swizzled.
//   K-major:            rows of 128 bytes, groups of 8 rows `stride_bytes` apart; leading_bytes is not used
//   transposed (N-major): 64 columns (of N) in a row of 128 bytes, one row for each k; groups of 8 rows
//                       `stride_bytes` apart, the next 64 columns `leading_bytes` away
// The next 16 of k in a K-major matrix are 32 bytes further, in a transposed one 16 rows.
__device__ __forceinline__ uint64_t matrix_descriptor(uint32_t address, uint32_t leading_bytes,
                                                      uint32_t stride_bytes) {
  constexpr uint64_t kSwizzle128 = uint64_t{1} << 62;
  return kSwizzle128 | static_cast<uint64_t>(stride_bytes >> 4 & 0x3fff) << 32 |
         static_cast<uint64_t>(leading_bytes >> 4 & 0x3fff) << 16 | (address >> 4 & 0x3fff);
}

}  // namespace ptx
}  // namespace kvasir::cuda

#undef KVASIR_SM90

#endif  // KVASIR_CUDA_EMULATED
