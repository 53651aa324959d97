#pragma once

// wgmma for every N. Inline assembly takes its registers as literal text, so each N needs its own statement;
// the macros write it. For kernels that use it; on the emulator it is a part of ptx.h.

#include "device/cuda/cuda.h"

#ifndef KVASIR_CUDA_EMULATED

namespace kvasir::cuda::ptx {

// What wgmma needs: registers written before are seen by wgmma, shared memory is ordered by barriers.
__device__ __forceinline__ void wgmma_fence() {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#endif
}
// The warpgroup's products since the last commit are a group.
__device__ __forceinline__ void wgmma_commit() {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
#endif
}
// Returns when no more than the N latest groups are under way. Pin their accumulators (and A, where it was in
// registers) after it.
template <int N>
__device__ __forceinline__ void wgmma_wait() {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory");
#endif
}

// Keeps the compiler from moving what reads or writes the registers across this place: before wgmma_fence and
// after wgmma_wait, for registers that wgmma uses.
template <int N>
__device__ __forceinline__ void pin(float (&registers)[N]) {
#pragma unroll
  for (int i = 0; i < N; ++i) asm volatile("" : "+f"(registers[i])::"memory");
}
template <int N>
__device__ __forceinline__ void pin(uint32_t (&registers)[N]) {
#pragma unroll
  for (int i = 0; i < N; ++i) asm volatile("" : "+r"(registers[i])::"memory");
}

// The warp gets (gives back) registers so that it has N per thread, a multiple of 8 from 24 to 256. All warps of
// a warpgroup.
template <int N>
__device__ __forceinline__ void registers_up() {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(N));
#endif
}
template <int N>
__device__ __forceinline__ void registers_down() {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(N));
#endif
}

template <int N>
struct Wgmma;

// Names (%0, %1, ...) and operands of the N / 2 accumulators.
// clang-format off
#define KVASIR_NAMES_8 "%0, %1, %2, %3"
#define KVASIR_NAMES_16 KVASIR_NAMES_8 ", %4, %5, %6, %7"
#define KVASIR_NAMES_24 KVASIR_NAMES_16 ", %8, %9, %10, %11"
#define KVASIR_NAMES_32 KVASIR_NAMES_24 ", %12, %13, %14, %15"
#define KVASIR_NAMES_40 KVASIR_NAMES_32 ", %16, %17, %18, %19"
#define KVASIR_NAMES_48 KVASIR_NAMES_40 ", %20, %21, %22, %23"
#define KVASIR_NAMES_56 KVASIR_NAMES_48 ", %24, %25, %26, %27"
#define KVASIR_NAMES_64 KVASIR_NAMES_56 ", %28, %29, %30, %31"
#define KVASIR_NAMES_72 KVASIR_NAMES_64 ", %32, %33, %34, %35"
#define KVASIR_NAMES_80 KVASIR_NAMES_72 ", %36, %37, %38, %39"
#define KVASIR_NAMES_88 KVASIR_NAMES_80 ", %40, %41, %42, %43"
#define KVASIR_NAMES_96 KVASIR_NAMES_88 ", %44, %45, %46, %47"
#define KVASIR_NAMES_104 KVASIR_NAMES_96 ", %48, %49, %50, %51"
#define KVASIR_NAMES_112 KVASIR_NAMES_104 ", %52, %53, %54, %55"
#define KVASIR_NAMES_120 KVASIR_NAMES_112 ", %56, %57, %58, %59"
#define KVASIR_NAMES_128 KVASIR_NAMES_120 ", %60, %61, %62, %63"
#define KVASIR_NAMES_136 KVASIR_NAMES_128 ", %64, %65, %66, %67"
#define KVASIR_NAMES_144 KVASIR_NAMES_136 ", %68, %69, %70, %71"
#define KVASIR_NAMES_152 KVASIR_NAMES_144 ", %72, %73, %74, %75"
#define KVASIR_NAMES_160 KVASIR_NAMES_152 ", %76, %77, %78, %79"
#define KVASIR_NAMES_168 KVASIR_NAMES_160 ", %80, %81, %82, %83"
#define KVASIR_NAMES_176 KVASIR_NAMES_168 ", %84, %85, %86, %87"
#define KVASIR_NAMES_184 KVASIR_NAMES_176 ", %88, %89, %90, %91"
#define KVASIR_NAMES_192 KVASIR_NAMES_184 ", %92, %93, %94, %95"
#define KVASIR_NAMES_200 KVASIR_NAMES_192 ", %96, %97, %98, %99"
#define KVASIR_NAMES_208 KVASIR_NAMES_200 ", %100, %101, %102, %103"
#define KVASIR_NAMES_216 KVASIR_NAMES_208 ", %104, %105, %106, %107"
#define KVASIR_NAMES_224 KVASIR_NAMES_216 ", %108, %109, %110, %111"
#define KVASIR_NAMES_232 KVASIR_NAMES_224 ", %112, %113, %114, %115"
#define KVASIR_NAMES_240 KVASIR_NAMES_232 ", %116, %117, %118, %119"
#define KVASIR_NAMES_248 KVASIR_NAMES_240 ", %120, %121, %122, %123"
#define KVASIR_NAMES_256 KVASIR_NAMES_248 ", %124, %125, %126, %127"
#define KVASIR_SUMS_8 "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
#define KVASIR_SUMS_16 KVASIR_SUMS_8, "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7])
#define KVASIR_SUMS_24 KVASIR_SUMS_16, "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11])
#define KVASIR_SUMS_32 KVASIR_SUMS_24, "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15])
#define KVASIR_SUMS_40 KVASIR_SUMS_32, "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19])
#define KVASIR_SUMS_48 KVASIR_SUMS_40, "+f"(d[20]), "+f"(d[21]), "+f"(d[22]), "+f"(d[23])
#define KVASIR_SUMS_56 KVASIR_SUMS_48, "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27])
#define KVASIR_SUMS_64 KVASIR_SUMS_56, "+f"(d[28]), "+f"(d[29]), "+f"(d[30]), "+f"(d[31])
#define KVASIR_SUMS_72 KVASIR_SUMS_64, "+f"(d[32]), "+f"(d[33]), "+f"(d[34]), "+f"(d[35])
#define KVASIR_SUMS_80 KVASIR_SUMS_72, "+f"(d[36]), "+f"(d[37]), "+f"(d[38]), "+f"(d[39])
#define KVASIR_SUMS_88 KVASIR_SUMS_80, "+f"(d[40]), "+f"(d[41]), "+f"(d[42]), "+f"(d[43])
#define KVASIR_SUMS_96 KVASIR_SUMS_88, "+f"(d[44]), "+f"(d[45]), "+f"(d[46]), "+f"(d[47])
#define KVASIR_SUMS_104 KVASIR_SUMS_96, "+f"(d[48]), "+f"(d[49]), "+f"(d[50]), "+f"(d[51])
#define KVASIR_SUMS_112 KVASIR_SUMS_104, "+f"(d[52]), "+f"(d[53]), "+f"(d[54]), "+f"(d[55])
#define KVASIR_SUMS_120 KVASIR_SUMS_112, "+f"(d[56]), "+f"(d[57]), "+f"(d[58]), "+f"(d[59])
#define KVASIR_SUMS_128 KVASIR_SUMS_120, "+f"(d[60]), "+f"(d[61]), "+f"(d[62]), "+f"(d[63])
#define KVASIR_SUMS_136 KVASIR_SUMS_128, "+f"(d[64]), "+f"(d[65]), "+f"(d[66]), "+f"(d[67])
#define KVASIR_SUMS_144 KVASIR_SUMS_136, "+f"(d[68]), "+f"(d[69]), "+f"(d[70]), "+f"(d[71])
#define KVASIR_SUMS_152 KVASIR_SUMS_144, "+f"(d[72]), "+f"(d[73]), "+f"(d[74]), "+f"(d[75])
#define KVASIR_SUMS_160 KVASIR_SUMS_152, "+f"(d[76]), "+f"(d[77]), "+f"(d[78]), "+f"(d[79])
#define KVASIR_SUMS_168 KVASIR_SUMS_160, "+f"(d[80]), "+f"(d[81]), "+f"(d[82]), "+f"(d[83])
#define KVASIR_SUMS_176 KVASIR_SUMS_168, "+f"(d[84]), "+f"(d[85]), "+f"(d[86]), "+f"(d[87])
#define KVASIR_SUMS_184 KVASIR_SUMS_176, "+f"(d[88]), "+f"(d[89]), "+f"(d[90]), "+f"(d[91])
#define KVASIR_SUMS_192 KVASIR_SUMS_184, "+f"(d[92]), "+f"(d[93]), "+f"(d[94]), "+f"(d[95])
#define KVASIR_SUMS_200 KVASIR_SUMS_192, "+f"(d[96]), "+f"(d[97]), "+f"(d[98]), "+f"(d[99])
#define KVASIR_SUMS_208 KVASIR_SUMS_200, "+f"(d[100]), "+f"(d[101]), "+f"(d[102]), "+f"(d[103])
#define KVASIR_SUMS_216 KVASIR_SUMS_208, "+f"(d[104]), "+f"(d[105]), "+f"(d[106]), "+f"(d[107])
#define KVASIR_SUMS_224 KVASIR_SUMS_216, "+f"(d[108]), "+f"(d[109]), "+f"(d[110]), "+f"(d[111])
#define KVASIR_SUMS_232 KVASIR_SUMS_224, "+f"(d[112]), "+f"(d[113]), "+f"(d[114]), "+f"(d[115])
#define KVASIR_SUMS_240 KVASIR_SUMS_232, "+f"(d[116]), "+f"(d[117]), "+f"(d[118]), "+f"(d[119])
#define KVASIR_SUMS_248 KVASIR_SUMS_240, "+f"(d[120]), "+f"(d[121]), "+f"(d[122]), "+f"(d[123])
#define KVASIR_SUMS_256 KVASIR_SUMS_248, "+f"(d[124]), "+f"(d[125]), "+f"(d[126]), "+f"(d[127])

// Operands after the accumulators: A's descriptor, B's, whether to add.
#define KVASIR_SHARED_A(N, TYPE, A, B, ADD)                                                                  \
  asm volatile("{\n.reg .pred add;\nsetp.ne.b32 add, %" #ADD ", 0;\n"                                        \
               "wgmma.mma_async.sync.aligned.m64n" #N "k16.f32." TYPE "." TYPE " {" KVASIR_NAMES_##N "}, "   \
               "%" #A ", %" #B ", add, 1, 1, 0, 0;\n}"                                                       \
               : KVASIR_SUMS_##N                                                                             \
               : "l"(a), "l"(b), "r"(static_cast<int>(accumulate)))

// Operands after the accumulators: A's four registers, B's descriptor, whether to add, whether B is transposed.
#define KVASIR_REGISTER_A(N, TYPE, A0, A1, A2, A3, B, ADD, TRANSPOSE)                                        \
  asm volatile("{\n.reg .pred add;\nsetp.ne.b32 add, %" #ADD ", 0;\n"                                        \
               "wgmma.mma_async.sync.aligned.m64n" #N "k16.f32." TYPE "." TYPE " {" KVASIR_NAMES_##N "}, "   \
               "{%" #A0 ", %" #A1 ", %" #A2 ", %" #A3 "}, %" #B ", add, 1, 1, %" #TRANSPOSE ";\n}"           \
               : KVASIR_SUMS_##N                                                                             \
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(static_cast<int>(accumulate)),      \
                 "n"(static_cast<int>(kTransposeB)))

// I0 to I6: the numbers of the operands after the N / 2 accumulators.
#define KVASIR_WGMMA(N, I0, I1, I2, I3, I4, I5, I6)                                                          \
  template <>                                                                                                \
  struct Wgmma<N> {                                                                                          \
    template <class T>                                                                                       \
    static __device__ __forceinline__ void run(float (&d)[N / 2], uint64_t a, uint64_t b, bool accumulate) { \
      if constexpr (std::is_same_v<T, bf16>) KVASIR_SHARED_A(N, "bf16", I0, I1, I2);                         \
      if constexpr (std::is_same_v<T, f16>) KVASIR_SHARED_A(N, "f16", I0, I1, I2);                           \
    }                                                                                                        \
    template <class T, bool kTransposeB>                                                                     \
    static __device__ __forceinline__ void run(float (&d)[N / 2], const uint32_t (&a)[4], uint64_t b,        \
                                               bool accumulate) {                                            \
      if constexpr (std::is_same_v<T, bf16>) KVASIR_REGISTER_A(N, "bf16", I0, I1, I2, I3, I4, I5, I6);       \
      if constexpr (std::is_same_v<T, f16>) KVASIR_REGISTER_A(N, "f16", I0, I1, I2, I3, I4, I5, I6);         \
    }                                                                                                        \
  };

KVASIR_WGMMA(8, 4, 5, 6, 7, 8, 9, 10)
KVASIR_WGMMA(16, 8, 9, 10, 11, 12, 13, 14)
KVASIR_WGMMA(24, 12, 13, 14, 15, 16, 17, 18)
KVASIR_WGMMA(32, 16, 17, 18, 19, 20, 21, 22)
KVASIR_WGMMA(40, 20, 21, 22, 23, 24, 25, 26)
KVASIR_WGMMA(48, 24, 25, 26, 27, 28, 29, 30)
KVASIR_WGMMA(56, 28, 29, 30, 31, 32, 33, 34)
KVASIR_WGMMA(64, 32, 33, 34, 35, 36, 37, 38)
KVASIR_WGMMA(72, 36, 37, 38, 39, 40, 41, 42)
KVASIR_WGMMA(80, 40, 41, 42, 43, 44, 45, 46)
KVASIR_WGMMA(88, 44, 45, 46, 47, 48, 49, 50)
KVASIR_WGMMA(96, 48, 49, 50, 51, 52, 53, 54)
KVASIR_WGMMA(104, 52, 53, 54, 55, 56, 57, 58)
KVASIR_WGMMA(112, 56, 57, 58, 59, 60, 61, 62)
KVASIR_WGMMA(120, 60, 61, 62, 63, 64, 65, 66)
KVASIR_WGMMA(128, 64, 65, 66, 67, 68, 69, 70)
KVASIR_WGMMA(136, 68, 69, 70, 71, 72, 73, 74)
KVASIR_WGMMA(144, 72, 73, 74, 75, 76, 77, 78)
KVASIR_WGMMA(152, 76, 77, 78, 79, 80, 81, 82)
KVASIR_WGMMA(160, 80, 81, 82, 83, 84, 85, 86)
KVASIR_WGMMA(168, 84, 85, 86, 87, 88, 89, 90)
KVASIR_WGMMA(176, 88, 89, 90, 91, 92, 93, 94)
KVASIR_WGMMA(184, 92, 93, 94, 95, 96, 97, 98)
KVASIR_WGMMA(192, 96, 97, 98, 99, 100, 101, 102)
KVASIR_WGMMA(200, 100, 101, 102, 103, 104, 105, 106)
KVASIR_WGMMA(208, 104, 105, 106, 107, 108, 109, 110)
KVASIR_WGMMA(216, 108, 109, 110, 111, 112, 113, 114)
KVASIR_WGMMA(224, 112, 113, 114, 115, 116, 117, 118)
KVASIR_WGMMA(232, 116, 117, 118, 119, 120, 121, 122)
KVASIR_WGMMA(240, 120, 121, 122, 123, 124, 125, 126)
KVASIR_WGMMA(248, 124, 125, 126, 127, 128, 129, 130)
KVASIR_WGMMA(256, 128, 129, 130, 131, 132, 133, 134)
// clang-format on

#undef KVASIR_WGMMA
#undef KVASIR_SHARED_A
#undef KVASIR_REGISTER_A
#undef KVASIR_NAMES_8
#undef KVASIR_SUMS_8
#undef KVASIR_NAMES_16
#undef KVASIR_SUMS_16
#undef KVASIR_NAMES_24
#undef KVASIR_SUMS_24
#undef KVASIR_NAMES_32
#undef KVASIR_SUMS_32
#undef KVASIR_NAMES_40
#undef KVASIR_SUMS_40
#undef KVASIR_NAMES_48
#undef KVASIR_SUMS_48
#undef KVASIR_NAMES_56
#undef KVASIR_SUMS_56
#undef KVASIR_NAMES_64
#undef KVASIR_SUMS_64
#undef KVASIR_NAMES_72
#undef KVASIR_SUMS_72
#undef KVASIR_NAMES_80
#undef KVASIR_SUMS_80
#undef KVASIR_NAMES_88
#undef KVASIR_SUMS_88
#undef KVASIR_NAMES_96
#undef KVASIR_SUMS_96
#undef KVASIR_NAMES_104
#undef KVASIR_SUMS_104
#undef KVASIR_NAMES_112
#undef KVASIR_SUMS_112
#undef KVASIR_NAMES_120
#undef KVASIR_SUMS_120
#undef KVASIR_NAMES_128
#undef KVASIR_SUMS_128
#undef KVASIR_NAMES_136
#undef KVASIR_SUMS_136
#undef KVASIR_NAMES_144
#undef KVASIR_SUMS_144
#undef KVASIR_NAMES_152
#undef KVASIR_SUMS_152
#undef KVASIR_NAMES_160
#undef KVASIR_SUMS_160
#undef KVASIR_NAMES_168
#undef KVASIR_SUMS_168
#undef KVASIR_NAMES_176
#undef KVASIR_SUMS_176
#undef KVASIR_NAMES_184
#undef KVASIR_SUMS_184
#undef KVASIR_NAMES_192
#undef KVASIR_SUMS_192
#undef KVASIR_NAMES_200
#undef KVASIR_SUMS_200
#undef KVASIR_NAMES_208
#undef KVASIR_SUMS_208
#undef KVASIR_NAMES_216
#undef KVASIR_SUMS_216
#undef KVASIR_NAMES_224
#undef KVASIR_SUMS_224
#undef KVASIR_NAMES_232
#undef KVASIR_SUMS_232
#undef KVASIR_NAMES_240
#undef KVASIR_SUMS_240
#undef KVASIR_NAMES_248
#undef KVASIR_SUMS_248
#undef KVASIR_NAMES_256
#undef KVASIR_SUMS_256

// d (64,N) = a (64,16) b (16,N), + d where `accumulate`; the four warps of a warpgroup ask together, d is
// there after wgmma_wait. Warp w has rows 16w to 16w + 15; d[4i..4i+3] are its columns 8i to 8i + 7 as mma's d.
// A and B in shared memory, both K-major (see matrix_descriptor).
template <class T, int N>
__device__ __forceinline__ void wgmma(float (&d)[N / 2], uint64_t a, uint64_t b, bool accumulate) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  Wgmma<N>::template run<T>(d, a, b, accumulate);
#else
  __trap();
#endif
}
// A in registers: the warp's 16 rows as mma's a. B in shared memory, K-major or transposed.
template <class T, int N, bool kTransposeB>
__device__ __forceinline__ void wgmma(float (&d)[N / 2], const uint32_t (&a)[4], uint64_t b,
                                      bool accumulate) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  Wgmma<N>::template run<T, kTransposeB>(d, a, b, accumulate);
#else
  __trap();
#endif
}

}  // namespace kvasir::cuda::ptx

#endif  // KVASIR_CUDA_EMULATED
