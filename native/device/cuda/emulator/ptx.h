#pragma once

// The functions of ptx.cuh on the CPU; what they do is told there. Included by ptx.cuh alone.

#include <cstdint>
#include <type_traits>
#include <vector>

#include "device/cuda/emulator/block.h"
#include "device/cuda/emulator/copies.h"
#include "device/cuda/emulator/grid.h"
#include "device/cuda/emulator/products.h"
#include "device/cuda/emulator/tensor-map.h"
#include "device/cuda/emulator/warp.h"

namespace kvasir::cuda::ptx {

using emulator::current;
using emulator::Site;

inline uint32_t shared_address(const void* p, Site site = Site::here()) {
  return current().block->shared_address(p, site);
}

inline void wait_for_predecessor(Site site = Site::here()) { current().block->wait_for_predecessor(site); }
inline void let_successor_start() {}

inline uint4 load_stream(const void* p) { return *static_cast<const uint4*>(p); }

inline float exp2_approximate(float x) {
  const float y = std::exp2(x);
  return y < 0x1p-126f ? 0.0f : y;  // NaN stays
}

template <class T>
void mma(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], Site site = Site::here()) {
  static_assert(std::is_same_v<T, bf16> || std::is_same_v<T, f16>);
  emulator::MmaOperand operand{d, a, b};
  current().block->meet(std::is_same_v<T, bf16> ? &emulator::mma_bf16 : &emulator::mma_f16, emulator::kWarp,
                        &operand, "mma", false, site);
}

}  // namespace kvasir::cuda::ptx

namespace kvasir::cuda::emulator {

// Each lane reads and writes its own row, so that the sanitizers see whose access it is. `lanes` have one.
template <int kMatrices>
void load_matrix(Meeting meeting, uint32_t (&r)[kMatrices], uint32_t address, const char* what, Site site) {
  MatrixOperand operand;
  if (lane() < 8 * kMatrices) {
    const auto* row = reinterpret_cast<const uint32_t*>(current().block->shared(address, 16, 16, what, site));
    for (int i = 0; i < 4; ++i) operand.row[i] = row[i];
  }
  current().block->meet(meeting, kWarp, &operand, what, false, site);
  for (int i = 0; i < kMatrices; ++i) r[i] = operand.registers[i];
}

inline void store_matrix(Meeting meeting, uint32_t address, const uint32_t (&r)[4], const char* what,
                         Site site) {
  if (current().block->architecture < 90) fail(std::string(what) + " needs architecture 90", site);
  MatrixOperand operand;
  for (int i = 0; i < 4; ++i) operand.registers[i] = r[i];
  current().block->meet(meeting, kWarp, &operand, what, false, site);
  auto* row = reinterpret_cast<uint32_t*>(current().block->shared(address, 16, 16, what, site));
  for (int i = 0; i < 4; ++i) row[i] = operand.row[i];
}

inline void set_16_bytes(char* to, uint64_t low, uint64_t high) {
  auto* words = reinterpret_cast<uint64_t*>(to);
  words[0] = low;
  words[1] = high;
}

// Loads and stores in the kernel's own code: the sanitizers would miss a short memcpy.
inline void finish_copy(char* to, const void* from) {
  if (from == nullptr) return set_16_bytes(to, 0, 0);
  const auto* words = static_cast<const uint64_t*>(from);
  set_16_bytes(to, words[0], words[1]);
}

inline void begin_copy(uint32_t address, const void* from, bool valid, Site site) {
  Thread& t = current();
  char* to = t.block->shared(address, 16, 16, "copy_async", site);
  if (valid && reinterpret_cast<uintptr_t>(from) % 16 != 0) {
    fail("copy_async from an address that is " + std::to_string(reinterpret_cast<uintptr_t>(from) % 16) +
             " modulo 16",
         site);
  }
  if (!t.block->lazy_copies) return finish_copy(to, valid ? from : nullptr);
  set_16_bytes(to, ~uint64_t{0}, ~uint64_t{0});  // NaN: the bytes may change from now on
  t.copies.push_back({to, valid ? from : nullptr, t.copy_group});
}

inline void wait_for_copies(int64_t groups_left) {
  Thread& t = current();
  size_t done = 0;
  for (; done < t.copies.size() && t.copies[done].group < t.copy_group - groups_left; ++done) {
    finish_copy(t.copies[done].to, t.copies[done].from);
  }
  t.copies.erase(t.copies.begin(), t.copies.begin() + static_cast<std::ptrdiff_t>(done));
}

}  // namespace kvasir::cuda::emulator

namespace kvasir::cuda::ptx {

inline void ldmatrix_x4(uint32_t (&r)[4], uint32_t address, Site site = Site::here()) {
  emulator::load_matrix(&emulator::load_matrix_x4, r, address, "ldmatrix_x4", site);
}
inline void ldmatrix_x2(uint32_t (&r)[2], uint32_t address, Site site = Site::here()) {
  emulator::load_matrix(&emulator::load_matrix_x2, r, address, "ldmatrix_x2", site);
}
inline void ldmatrix_x4_trans(uint32_t (&r)[4], uint32_t address, Site site = Site::here()) {
  emulator::load_matrix(&emulator::load_matrix_x4_trans, r, address, "ldmatrix_x4_trans", site);
}
inline void ldmatrix_x2_trans(uint32_t (&r)[2], uint32_t address, Site site = Site::here()) {
  emulator::load_matrix(&emulator::load_matrix_x2_trans, r, address, "ldmatrix_x2_trans", site);
}
inline void stmatrix_x4(uint32_t address, const uint32_t (&r)[4], Site site = Site::here()) {
  emulator::store_matrix(&emulator::store_matrix_x4, address, r, "stmatrix_x4", site);
}
inline void stmatrix_x4_trans(uint32_t address, const uint32_t (&r)[4], Site site = Site::here()) {
  emulator::store_matrix(&emulator::store_matrix_x4_trans, address, r, "stmatrix_x4_trans", site);
}

inline void copy_async(uint32_t to, const void* from, Site site = Site::here()) {
  emulator::begin_copy(to, from, true, site);
}
inline void copy_async(uint32_t to, const void* from, bool valid, Site site = Site::here()) {
  emulator::begin_copy(to, from, valid, site);
}
inline void commit_copies() { ++current().copy_group; }
template <int N>
void wait_for_copies() {
  emulator::wait_for_copies(N);
}

inline void barrier_sync(int id, int threads, Site site = Site::here()) {
  emulator::named_barrier(id, threads, true, "barrier_sync", site);
}
inline void barrier_arrive(int id, int threads, Site site = Site::here()) {
  emulator::named_barrier(id, threads, false, "barrier_arrive", site);
}

inline void mbarrier_init(uint32_t barrier, int count, Site site = Site::here()) {
  current().block->copies->init(barrier, count, site);
}
inline void mbarrier_arrive(uint32_t barrier, Site site = Site::here()) {
  current().block->copies->arrive(barrier, 0, "mbarrier_arrive", site);
}
inline void mbarrier_expect(uint32_t barrier, uint32_t bytes, Site site = Site::here()) {
  current().block->copies->arrive(barrier, bytes, "mbarrier_expect", site);
}
inline void mbarrier_wait(uint32_t barrier, uint32_t parity, Site site = Site::here()) {
  current().block->copies->wait(barrier, parity, site);
}
inline void fence_mbarrier_init() {}
inline void fence_async_proxy() {}

inline void copy_bulk(uint32_t to, const void* from, uint32_t bytes, uint32_t barrier,
                      Site site = Site::here()) {
  current().block->copies->bulk(to, from, bytes, barrier, site);
}
inline void copy_tensor(uint32_t to, const TensorMap* map, int column, int row, uint32_t barrier,
                        Site site = Site::here()) {
  current().block->copies->tensor(to, *map, column, row, barrier, site);
}

// Throws Error(kDevice) for what the driver would not encode.
TensorMap tensor_map(DType dtype, const void* base, int64_t rows, int64_t cols, int64_t row_stride_bytes,
                     int box_rows, int box_cols);

inline uint64_t matrix_descriptor(uint32_t address, uint32_t leading_bytes, uint32_t stride_bytes) {
  constexpr uint64_t kSwizzle128 = uint64_t{1} << 62;
  return kSwizzle128 | static_cast<uint64_t>(stride_bytes >> 4 & 0x3fff) << 32 |
         static_cast<uint64_t>(leading_bytes >> 4 & 0x3fff) << 16 | (address >> 4 & 0x3fff);
}

inline void wgmma_fence() { current().block->products->fence(); }
inline void wgmma_commit(Site site = Site::here()) { current().block->products->commit(site); }
template <int N>
void wgmma_wait(Site site = Site::here()) {
  current().block->products->wait(N, site);
}

template <int N>
void pin(float (&)[N]) {}
template <int N>
void pin(uint32_t (&)[N]) {}
template <int N>
void registers_up() {}
template <int N>
void registers_down() {}

template <class T, int N>
void wgmma(float (&d)[N / 2], uint64_t a, uint64_t b, bool accumulate, Site site = Site::here()) {
  static_assert(N % 8 == 0 && N >= 8 && N <= 256);
  const emulator::Half half = std::is_same_v<T, bf16> ? emulator::Half::kBF16 : emulator::Half::kF16;
  current().block->products->add({half, false, false, accumulate, N, a, b, site}, d, nullptr, site);
}
template <class T, int N, bool kTransposeB>
void wgmma(float (&d)[N / 2], const uint32_t (&a)[4], uint64_t b, bool accumulate, Site site = Site::here()) {
  static_assert(N % 8 == 0 && N >= 8 && N <= 256);
  const emulator::Half half = std::is_same_v<T, bf16> ? emulator::Half::kBF16 : emulator::Half::kF16;
  current().block->products->add({half, true, kTransposeB, accumulate, N, 0, b, site}, d, a, site);
}

}  // namespace kvasir::cuda::ptx
