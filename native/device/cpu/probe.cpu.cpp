// The loops are written in assembly: compilers keep arrays of vectors in memory (a third of the peak), or find out that
// nobody wants the result (three times the peak).

#include "device/cpu/probe.h"

#include "device/cpu/parallel.h"
#include "device/cpu/vector.h"

namespace kvasir::KVASIR_ISA {

ProbeArithmeticKernel probe_arithmetic;
ProbeReadKernel probe_read;

namespace {

// A round is twelve products added to as many sums, which cover the latency of two a cycle; seven without FMA hardware.
#define KVASIR_TWELVE(step) \
  step(0) step(1) step(2) step(3) step(4) step(5) step(6) step(7) step(8) step(9) step(10) step(11)
#define KVASIR_CLOBBERED                                                                                  \
  "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", \
      "xmm12", "xmm13", "xmm14", "xmm15"

// What one round does, in multiply-adds of a vector register, and one of them in numbers.
struct Unit {
  void (*run)(int64_t rounds);
  int64_t sums, numbers;
};

#if defined(__AVX512F__)

#define KVASIR_LOOP(instruction)                                                                        \
  [](int64_t rounds) {                                                                                  \
    asm volatile(                                                                                       \
        "vpxorq %%zmm30, %%zmm30, %%zmm30\n\tvpxorq %%zmm31, %%zmm31, %%zmm31\n\t1:\n\t" KVASIR_TWELVE( \
            instruction) "dec %0\n\tjnz 1b\n\tvzeroupper"                                               \
        : "+r"(rounds)                                                                                  \
        :                                                                                               \
        : KVASIR_CLOBBERED, "xmm30", "xmm31");                                                          \
  }
#define KVASIR_FMA(r) "vfmadd231ps %%zmm30, %%zmm31, %%zmm" #r "\n\t"
#define KVASIR_BF16(r) "vdpbf16ps %%zmm30, %%zmm31, %%zmm" #r "\n\t"
#define KVASIR_INT8(r) "vpdpbusd %%zmm30, %%zmm31, %%zmm" #r "\n\t"
const Unit kF32 = {KVASIR_LOOP(KVASIR_FMA), 12, 16};
const Unit kBF16 = {KVASIR_LOOP(KVASIR_BF16), 12, 32};
const Unit kInt8 = {KVASIR_LOOP(KVASIR_INT8), 12, 64};

#elif defined(__AVX2__)

#define KVASIR_LOOP(instruction)                                                                      \
  [](int64_t rounds) {                                                                                \
    asm volatile(                                                                                     \
        "vpxor %%ymm14, %%ymm14, %%ymm14\n\tvpxor %%ymm15, %%ymm15, %%ymm15\n\t1:\n\t" KVASIR_TWELVE( \
            instruction) "dec %0\n\tjnz 1b\n\tvzeroupper"                                             \
        : "+r"(rounds)                                                                                \
        :                                                                                             \
        : KVASIR_CLOBBERED);                                                                          \
  }
#define KVASIR_FMA(r) "vfmadd231ps %%ymm14, %%ymm15, %%ymm" #r "\n\t"
#if defined(__AVXVNNI__)
#define KVASIR_INT8(r) "%{vex%} vpdpbusd %%ymm14, %%ymm15, %%ymm" #r "\n\t"
constexpr int64_t kBytes = 32;
#else
#define KVASIR_INT8(r) "vpmaddwd %%ymm14, %%ymm15, %%ymm12\n\tvpaddd %%ymm12, %%ymm" #r ", %%ymm" #r "\n\t"
constexpr int64_t kBytes = 16;  // that were widened
#endif
const Unit kF32 = {KVASIR_LOOP(KVASIR_FMA), 12, 8};
const Unit kBF16 = kF32;
const Unit kInt8 = {KVASIR_LOOP(KVASIR_INT8), 12, kBytes};

#elif defined(__aarch64__)

#define KVASIR_LOOP(instruction)                                                                           \
  [](int64_t rounds) {                                                                                     \
    asm volatile("movi v30.4s, #0\n\tmovi v31.4s, #0\n\t1:\n\t" KVASIR_TWELVE(instruction) instruction(12) \
                     instruction(13) instruction(14) instruction(15) "subs %0, %0, #1\n\tb.ne 1b"          \
                 : "+r"(rounds)                                                                            \
                 :                                                                                         \
                 : "cc", "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11", "v12",  \
                   "v13", "v14", "v15", "v29", "v30", "v31");                                              \
  }
#define KVASIR_FMA(r) "fmla v" #r ".4s, v30.4s, v31.4s\n\t"
const Unit kF32 = {KVASIR_LOOP(KVASIR_FMA), 16, 4};
const Unit kBF16 = kF32;
#if defined(__ARM_FEATURE_MATMUL_INT8)
#define KVASIR_INT8(r) "usmmla v" #r ".4s, v30.16b, v31.16b\n\t"
const Unit kInt8 = {KVASIR_LOOP(KVASIR_INT8), 16, 32};
#elif defined(__ARM_FEATURE_DOTPROD)
#define KVASIR_INT8(r) "sdot v" #r ".4s, v30.16b, v31.16b\n\t"
const Unit kInt8 = {KVASIR_LOOP(KVASIR_INT8), 16, 16};
#else
#define KVASIR_INT8(r) "smlal v" #r ".4s, v30.4h, v31.4h\n\t"
const Unit kInt8 = {KVASIR_LOOP(KVASIR_INT8), 16, 4};  // that were widened
#endif

#else

#define KVASIR_LOOP(body)                                                                           \
  [](int64_t rounds) {                                                                              \
    asm volatile("pxor %%xmm14, %%xmm14\n\tpxor %%xmm15, %%xmm15\n\t1:\n\t" body "dec %0\n\tjnz 1b" \
                 : "+r"(rounds)                                                                     \
                 :                                                                                  \
                 : KVASIR_CLOBBERED);                                                               \
  }
#define KVASIR_FMA(m, s) "mulps %%xmm15, %%xmm" #m "\n\taddps %%xmm15, %%xmm" #s "\n\t"
#define KVASIR_INT8(m, s) "pmaddwd %%xmm15, %%xmm" #m "\n\tpaddd %%xmm15, %%xmm" #s "\n\t"
#define KVASIR_SEVEN(step) step(0, 7) step(1, 8) step(2, 9) step(3, 10) step(4, 11) step(5, 12) step(6, 13)
const Unit kF32 = {KVASIR_LOOP(KVASIR_SEVEN(KVASIR_FMA)), 7, 4};
const Unit kBF16 = kF32;
const Unit kInt8 = {KVASIR_LOOP(KVASIR_SEVEN(KVASIR_INT8)), 7, 8};

#endif

const Unit& unit_of(Arithmetic arithmetic) {
  if (arithmetic == Arithmetic::kInt8) return kInt8;
  return arithmetic == Arithmetic::kBF16 ? kBF16 : kF32;
}

// The same lines in the same order as a matrix product reads them, 256 bytes a round.
uint64_t read_lines(const std::byte* data, int64_t bytes, bool fetch_ahead) {
  Vec a = zero(), b = zero(), c = zero(), d = zero();
  const float* p = reinterpret_cast<const float*>(data);
  constexpr int64_t kRound = 4 * kWidth;
  for (int64_t left = bytes / 4; left >= kRound; left -= kRound, p += kRound) {
    if (fetch_ahead)
      for (int line = 0; line < kRound / 16; line++) __builtin_prefetch(p + 1024 + 16 * line, 0, 2);
    a = max(a, load(p));
    b = max(b, load(p + kWidth));
    c = max(c, load(p + 2 * kWidth));
    d = max(d, load(p + 3 * kWidth));
  }
  return static_cast<uint64_t>(reduce_max(max(max(a, b), max(c, d))));
}

}  // namespace

int64_t probe_arithmetic(Execution& execution, Arithmetic arithmetic, int64_t rounds) {
  // More pieces than threads, so that one that starts late does not decide the figure.
  constexpr int64_t kPieces = 8;
  const Unit& unit = unit_of(arithmetic);
  int64_t pieces = kPieces * execution.pool.num_threads();
  parallel_for(execution, pieces, 1, [&](int64_t, int64_t, int) { unit.run(rounds / kPieces); });
  return pieces * (rounds / kPieces) * unit.sums * unit.numbers * 2;
}

uint64_t probe_read(Execution& execution, const void* data, int64_t bytes) {
  constexpr int64_t kPiece = 1 << 20;
  std::atomic<uint64_t> sum{0};
  parallel_for(execution, bytes / kPiece, 1, [&](int64_t begin, int64_t, int) {
    sum.fetch_add(read_lines(static_cast<const std::byte*>(data) + begin * kPiece, kPiece,
                             execution.preferences.fetch_ahead),
                  std::memory_order_relaxed);
  });
  return sum.load();
}

}  // namespace kvasir::KVASIR_ISA
