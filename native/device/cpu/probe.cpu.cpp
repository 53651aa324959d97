// The loops are written in assembly: compilers keep arrays of vectors in memory (a third of the peak), or find out that
// nobody wants the result (three times the peak).

#include "device/cpu/probe.h"

#include "device/cpu/parallel.h"
#include "device/cpu/vector.h"

namespace kvasir::KVASIR_ISA {

ProbeFmaKernel probe_fma;
ProbeReadKernel probe_read;

namespace {

// Enough independent sums to cover the latency of two multiply-adds a cycle.
#if defined(__AVX512F__) || defined(__AVX2__)
constexpr int64_t kSums = 12;
#else
constexpr int64_t kSums = 7;
#endif

void multiply_add(int64_t rounds) {
#if defined(__AVX512F__)
#define KVASIR_FMA(r) "vfmadd231ps %%zmm30, %%zmm31, %%zmm" #r "\n\t"
  asm volatile(
      "vpxorq %%zmm30, %%zmm30, %%zmm30\n\tvpxorq %%zmm31, %%zmm31, %%zmm31\n\t"
      "1:\n\t" KVASIR_FMA(0) KVASIR_FMA(1) KVASIR_FMA(2) KVASIR_FMA(3) KVASIR_FMA(4) KVASIR_FMA(5)
          KVASIR_FMA(6) KVASIR_FMA(7) KVASIR_FMA(8) KVASIR_FMA(9) KVASIR_FMA(10)
              KVASIR_FMA(11) "dec %0\n\tjnz 1b\n\tvzeroupper"
      : "+r"(rounds)
      :
      : "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",
        "xmm11", "xmm30", "xmm31");
#elif defined(__AVX2__)
#define KVASIR_FMA(r) "vfmadd231ps %%ymm14, %%ymm15, %%ymm" #r "\n\t"
  asm volatile(
      "vpxor %%ymm14, %%ymm14, %%ymm14\n\tvpxor %%ymm15, %%ymm15, %%ymm15\n\t"
      "1:\n\t" KVASIR_FMA(0) KVASIR_FMA(1) KVASIR_FMA(2) KVASIR_FMA(3) KVASIR_FMA(4) KVASIR_FMA(5)
          KVASIR_FMA(6) KVASIR_FMA(7) KVASIR_FMA(8) KVASIR_FMA(9) KVASIR_FMA(10)
              KVASIR_FMA(11) "dec %0\n\tjnz 1b\n\tvzeroupper"
      : "+r"(rounds)
      :
      : "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",
        "xmm11", "xmm14", "xmm15");
#else
// A product and a sum each: seven of both in flight.
#define KVASIR_MUL_ADD(m, s) "mulps %%xmm15, %%xmm" #m "\n\taddps %%xmm15, %%xmm" #s "\n\t"
  asm volatile(
      "xorps %%xmm15, %%xmm15\n\t"
      "1:\n\t" KVASIR_MUL_ADD(0, 7) KVASIR_MUL_ADD(1, 8) KVASIR_MUL_ADD(2, 9) KVASIR_MUL_ADD(3, 10)
          KVASIR_MUL_ADD(4, 11) KVASIR_MUL_ADD(5, 12) KVASIR_MUL_ADD(6, 13) "dec %0\n\tjnz 1b"
      : "+r"(rounds)
      :
      : "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",
        "xmm11", "xmm12", "xmm13", "xmm15");
#endif
}

// The same lines in the same order as a matrix product reads them, 256 bytes a round.
uint64_t read_lines(const std::byte* data, int64_t bytes) {
  Vec a = zero(), b = zero(), c = zero(), d = zero();
  const float* p = reinterpret_cast<const float*>(data);
  constexpr int64_t kRound = 4 * kWidth;
  for (int64_t left = bytes / 4; left >= kRound; left -= kRound, p += kRound) {
    a = max(a, load(p));
    b = max(b, load(p + kWidth));
    c = max(c, load(p + 2 * kWidth));
    d = max(d, load(p + 3 * kWidth));
  }
  return static_cast<uint64_t>(reduce_max(max(max(a, b), max(c, d))));
}

}  // namespace

int64_t probe_fma(Execution& execution, int64_t rounds) {
  // More pieces than threads, so that one that starts late does not decide the figure.
  constexpr int64_t kPieces = 8;
  int64_t pieces = kPieces * execution.pool.num_threads();
  parallel_for(execution, pieces, 1, [&](int64_t, int64_t, int) { multiply_add(rounds / kPieces); });
  return pieces * (rounds / kPieces) * kSums * kWidth * 2;
}

uint64_t probe_read(Execution& execution, const void* data, int64_t bytes) {
  constexpr int64_t kPiece = 1 << 20;
  std::atomic<uint64_t> sum{0};
  parallel_for(execution, bytes / kPiece, 1, [&](int64_t begin, int64_t, int) {
    sum.fetch_add(read_lines(static_cast<const std::byte*>(data) + begin * kPiece, kPiece),
                  std::memory_order_relaxed);
  });
  return sum.load();
}

}  // namespace kvasir::KVASIR_ISA
