#pragma once

// CUDA's device functions. Included by language.h alone.

// Where a function is called; see block.h.
using KvasirSite = ::kvasir::cuda::emulator::Site;

// Barriers.

inline void __syncthreads(KvasirSite site = KvasirSite::here()) {
  ::kvasir::cuda::emulator::current().block->barrier(0, 0, true, 0, "__syncthreads", site);
}
inline int __syncthreads_count(int value, KvasirSite site = KvasirSite::here()) {
  return ::kvasir::cuda::emulator::current().block->barrier(0, 0, true, value, "__syncthreads_count", site);
}
inline int __syncthreads_or(int value, KvasirSite site = KvasirSite::here()) {
  return ::kvasir::cuda::emulator::current().block->barrier(0, 0, true, value, "__syncthreads_or", site) != 0;
}
inline int __syncthreads_and(int value, KvasirSite site = KvasirSite::here()) {
  return ::kvasir::cuda::emulator::current().block->barrier(0, 0, true, value == 0, "__syncthreads_and",
                                                            site) == 0;
}
inline void __syncwarp(uint32_t mask = 0xffffffffu, KvasirSite site = KvasirSite::here()) {
  ::kvasir::cuda::emulator::current().block->meet(nullptr, mask, nullptr, "__syncwarp", true, site);
}
inline void __threadfence() {}
inline void __threadfence_block() {}
inline void __threadfence_system() {}
inline void __nanosleep(unsigned) {}
[[noreturn]] inline void __trap(KvasirSite site = KvasirSite::here()) {
  ::kvasir::cuda::emulator::fail("__trap", site);
}

// Warps.

namespace kvasir::cuda::emulator {

template <class T>
T shuffle_from(uint32_t mask, T value, int source, const char* what, Site site) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8);
  ShuffleOperand operand{0, 0, source};
  std::memcpy(&operand.value, &value, sizeof value);
  current().block->meet(&shuffle, mask, &operand, what, false, site);
  std::memcpy(&value, &operand.result, sizeof value);
  return value;
}

inline uint32_t vote(uint32_t mask, bool value, const char* what, Site site) {
  BallotOperand operand{value, 0};
  current().block->meet(&ballot, mask, &operand, what, false, site);
  return operand.result;
}

template <class T, class F>
T reduce(uint32_t mask, T value, F f, const char* what, Site site) {
  GatherOperand operand;
  operand.value = 0;
  std::memcpy(&operand.value, &value, sizeof value);
  current().block->meet(&gather, mask, &operand, what, false, site);
  T result{};
  bool first = true;
  for (int lane = 0; lane < 32; ++lane) {
    if ((mask >> lane & 1) == 0) continue;
    T other;
    std::memcpy(&other, &operand.results[lane], sizeof other);
    result = first ? other : f(result, other);
    first = false;
  }
  return result;
}

}  // namespace kvasir::cuda::emulator

template <class T>
T __shfl_sync(uint32_t mask, T value, int source, int width = 32, KvasirSite site = KvasirSite::here()) {
  const int lane = ::kvasir::cuda::emulator::lane();
  return ::kvasir::cuda::emulator::shuffle_from(mask, value, (lane & ~(width - 1)) | (source & (width - 1)),
                                                "__shfl_sync", site);
}
template <class T>
T __shfl_up_sync(uint32_t mask, T value, unsigned delta, int width = 32,
                 KvasirSite site = KvasirSite::here()) {
  const int lane = ::kvasir::cuda::emulator::lane(), in_group = lane & (width - 1);
  const int source = in_group >= static_cast<int>(delta) ? lane - static_cast<int>(delta) : lane;
  return ::kvasir::cuda::emulator::shuffle_from(mask, value, source, "__shfl_up_sync", site);
}
template <class T>
T __shfl_down_sync(uint32_t mask, T value, unsigned delta, int width = 32,
                   KvasirSite site = KvasirSite::here()) {
  const int lane = ::kvasir::cuda::emulator::lane(), in_group = lane & (width - 1);
  const int source = in_group + static_cast<int>(delta) < width ? lane + static_cast<int>(delta) : lane;
  return ::kvasir::cuda::emulator::shuffle_from(mask, value, source, "__shfl_down_sync", site);
}
template <class T>
T __shfl_xor_sync(uint32_t mask, T value, int lane_mask, int width = 32,
                  KvasirSite site = KvasirSite::here()) {
  const int lane = ::kvasir::cuda::emulator::lane();
  const int wanted = lane ^ lane_mask;
  // Later groups of lanes are out of reach, earlier ones not.
  const int source = wanted < (lane & ~(width - 1)) + width ? wanted : lane;
  return ::kvasir::cuda::emulator::shuffle_from(mask, value, source, "__shfl_xor_sync", site);
}

inline uint32_t __ballot_sync(uint32_t mask, int value, KvasirSite site = KvasirSite::here()) {
  return ::kvasir::cuda::emulator::vote(mask, value != 0, "__ballot_sync", site);
}
inline int __any_sync(uint32_t mask, int value, KvasirSite site = KvasirSite::here()) {
  return ::kvasir::cuda::emulator::vote(mask, value != 0, "__any_sync", site) != 0;
}
inline int __all_sync(uint32_t mask, int value, KvasirSite site = KvasirSite::here()) {
  return ::kvasir::cuda::emulator::vote(mask, value == 0, "__all_sync", site) == 0;
}
template <class T>
T __reduce_add_sync(uint32_t mask, T value, KvasirSite site = KvasirSite::here()) {
  return ::kvasir::cuda::emulator::reduce(
      mask, value, [](T a, T b) { return a + b; }, "__reduce_add_sync", site);
}
template <class T>
T __reduce_min_sync(uint32_t mask, T value, KvasirSite site = KvasirSite::here()) {
  return ::kvasir::cuda::emulator::reduce(
      mask, value, [](T a, T b) { return b < a ? b : a; }, "__reduce_min_sync", site);
}
template <class T>
T __reduce_max_sync(uint32_t mask, T value, KvasirSite site = KvasirSite::here()) {
  return ::kvasir::cuda::emulator::reduce(
      mask, value, [](T a, T b) { return a < b ? b : a; }, "__reduce_max_sync", site);
}

// Atomics. Acquire and release: a fence beside them needs no instruction then.

namespace kvasir::cuda::emulator {

template <class T, class F>
T change(T* p, F f) {
  std::atomic_ref<T> place(*p);
  T old = place.load();
  while (!place.compare_exchange_weak(old, f(old))) {
  }
  return old;
}

}  // namespace kvasir::cuda::emulator

template <class T>
T atomicAdd(T* p, std::type_identity_t<T> value) {
  return ::kvasir::cuda::emulator::change(p, [&](T old) { return static_cast<T>(old + value); });
}
template <class T>
T atomicSub(T* p, std::type_identity_t<T> value) {
  return ::kvasir::cuda::emulator::change(p, [&](T old) { return static_cast<T>(old - value); });
}
template <class T>
T atomicMax(T* p, std::type_identity_t<T> value) {
  return ::kvasir::cuda::emulator::change(p, [&](T old) { return old < value ? value : old; });
}
template <class T>
T atomicMin(T* p, std::type_identity_t<T> value) {
  return ::kvasir::cuda::emulator::change(p, [&](T old) { return value < old ? value : old; });
}
template <class T>
T atomicOr(T* p, std::type_identity_t<T> value) {
  return ::kvasir::cuda::emulator::change(p, [&](T old) { return old | value; });
}
template <class T>
T atomicAnd(T* p, std::type_identity_t<T> value) {
  return ::kvasir::cuda::emulator::change(p, [&](T old) { return old & value; });
}
template <class T>
T atomicExch(T* p, std::type_identity_t<T> value) {
  return std::atomic_ref<T>(*p).exchange(value);
}
template <class T>
T atomicCAS(T* p, std::type_identity_t<T> expected, std::type_identity_t<T> value) {
  std::atomic_ref<T>(*p).compare_exchange_strong(expected, value);
  return expected;
}
inline unsigned atomicInc(unsigned* p, unsigned most) {
  return ::kvasir::cuda::emulator::change(p, [&](unsigned old) { return old >= most ? 0 : old + 1; });
}
inline unsigned atomicDec(unsigned* p, unsigned most) {
  return ::kvasir::cuda::emulator::change(
      p, [&](unsigned old) { return old == 0 || old > most ? most : old - 1; });
}

// Memory.

template <class T>
T __ldg(const T* p) {
  return *p;
}
template <class T>
T __ldcg(const T* p) {
  return *p;
}
template <class T>
T __ldcs(const T* p) {
  return *p;
}
template <class T>
void __stcg(T* p, std::type_identity_t<T> value) {
  *p = value;
}
template <class T>
void __stcs(T* p, std::type_identity_t<T> value) {
  *p = value;
}

// Bits.

inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __ffsll(long long x) { return __builtin_ffsll(x); }
inline int __clz(int x) { return x == 0 ? 32 : __builtin_clz(static_cast<unsigned>(x)); }
inline int __clzll(long long x) { return x == 0 ? 64 : __builtin_clzll(static_cast<unsigned long long>(x)); }
inline unsigned __brev(unsigned x) {
  unsigned y = 0;
  for (int i = 0; i < 32; ++i) y |= (x >> i & 1) << (31 - i);
  return y;
}
inline unsigned __umulhi(unsigned x, unsigned y) {
  return static_cast<unsigned>(static_cast<uint64_t>(x) * y >> 32);
}
inline unsigned __byte_perm(unsigned x, unsigned y, unsigned selector) {
  const uint64_t bytes = static_cast<uint64_t>(y) << 32 | x;
  unsigned result = 0;
  for (int i = 0; i < 4; ++i) {
    const unsigned s = selector >> 4 * i & 15;
    const unsigned byte = static_cast<unsigned>(bytes >> 8 * (s & 7) & 0xff);
    result |= (s & 8 ? (byte & 0x80 ? 0xffu : 0u) : byte) << 8 * i;
  }
  return result;
}
inline unsigned __funnelshift_l(unsigned low, unsigned high, unsigned shift) {
  return static_cast<unsigned>((static_cast<uint64_t>(high) << 32 | low) << (shift & 31) >> 32);
}
inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned shift) {
  return static_cast<unsigned>((static_cast<uint64_t>(high) << 32 | low) >> (shift & 31));
}

namespace kvasir::cuda::emulator {

template <class To, class From>
To bit_cast(From x) {
  static_assert(sizeof(To) == sizeof(From));
  To y;
  std::memcpy(&y, &x, sizeof y);
  return y;
}

}  // namespace kvasir::cuda::emulator

inline unsigned __float_as_uint(float x) { return ::kvasir::cuda::emulator::bit_cast<unsigned>(x); }
inline int __float_as_int(float x) { return ::kvasir::cuda::emulator::bit_cast<int>(x); }
inline float __uint_as_float(unsigned x) { return ::kvasir::cuda::emulator::bit_cast<float>(x); }
inline float __int_as_float(int x) { return ::kvasir::cuda::emulator::bit_cast<float>(x); }
inline long long __double_as_longlong(double x) { return ::kvasir::cuda::emulator::bit_cast<long long>(x); }
inline double __longlong_as_double(long long x) { return ::kvasir::cuda::emulator::bit_cast<double>(x); }

// Numbers.

inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
inline double rsqrt(double x) { return 1.0 / std::sqrt(x); }
inline float __fdividef(float x, float y) { return x / y; }
inline float __fadd_rn(float x, float y) { return x + y; }
inline float __fsub_rn(float x, float y) { return x - y; }
inline float __fmul_rn(float x, float y) { return x * y; }
inline float __fdiv_rn(float x, float y) { return x / y; }
inline float __frcp_rn(float x) { return 1.0f / x; }
inline float __fsqrt_rn(float x) { return std::sqrt(x); }
inline float __frsqrt_rn(float x) { return static_cast<float>(1.0 / std::sqrt(static_cast<double>(x))); }
inline float __fmaf_rn(float x, float y, float z) { return std::fma(x, y, z); }
inline double __dadd_rn(double x, double y) { return x + y; }
inline double __dsub_rn(double x, double y) { return x - y; }
inline double __dmul_rn(double x, double y) { return x * y; }
inline double __ddiv_rn(double x, double y) { return x / y; }
inline double __fma_rn(double x, double y, double z) { return std::fma(x, y, z); }
inline float __saturatef(float x) { return x > 0.0f ? (x < 1.0f ? x : 1.0f) : 0.0f; }
inline int __float2int_rn(float x) { return static_cast<int>(std::nearbyint(x)); }
inline int __float2int_rd(float x) { return static_cast<int>(std::floor(x)); }
inline int __float2int_ru(float x) { return static_cast<int>(std::ceil(x)); }
inline int __float2int_rz(float x) { return static_cast<int>(x); }
inline float __int2float_rn(int x) { return static_cast<float>(x); }
inline float __uint2float_rn(unsigned x) { return static_cast<float>(x); }

// glibc declares functions of these names and has none.
namespace kvasir::cuda::emulator {

inline float fast_exp(float x) { return std::exp(x); }
inline float fast_exp10(float x) { return std::pow(10.0f, x); }
inline float fast_log(float x) { return std::log(x); }
inline float fast_log2(float x) { return std::log2(x); }
inline float fast_sin(float x) { return std::sin(x); }
inline float fast_cos(float x) { return std::cos(x); }
inline float fast_pow(float x, float y) { return std::pow(x, y); }

}  // namespace kvasir::cuda::emulator

#define __expf(x) ::kvasir::cuda::emulator::fast_exp(x)
#define __exp10f(x) ::kvasir::cuda::emulator::fast_exp10(x)
#define __logf(x) ::kvasir::cuda::emulator::fast_log(x)
#define __log2f(x) ::kvasir::cuda::emulator::fast_log2(x)
#define __sinf(x) ::kvasir::cuda::emulator::fast_sin(x)
#define __cosf(x) ::kvasir::cuda::emulator::fast_cos(x)
#define __powf(x, y) ::kvasir::cuda::emulator::fast_pow(x, y)

// CUDA has these at large, for all pairs of arithmetic types.
template <class A, class B>
  requires std::is_arithmetic_v<A> && std::is_arithmetic_v<B>
constexpr std::common_type_t<A, B> min(A a, B b) {
  using T = std::common_type_t<A, B>;
  return static_cast<T>(b) < static_cast<T>(a) ? static_cast<T>(b) : static_cast<T>(a);
}
template <class A, class B>
  requires std::is_arithmetic_v<A> && std::is_arithmetic_v<B>
constexpr std::common_type_t<A, B> max(A a, B b) {
  using T = std::common_type_t<A, B>;
  return static_cast<T>(a) < static_cast<T>(b) ? static_cast<T>(b) : static_cast<T>(a);
}
