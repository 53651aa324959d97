#include "device/cuda/emulator/warp.h"

#include <bit>
#include <cstring>

#include "device/cuda/emulator/multiply.h"
#include "device/cuda/emulator/report.h"

namespace kvasir::cuda::emulator {

namespace {

template <class Operand>
Operand& at(void* const operands[32], int lane) {
  return *static_cast<Operand*>(operands[lane]);
}

template <class F>
void each(uint32_t lanes, F f) {
  for (; lanes != 0; lanes &= lanes - 1) f(std::countr_zero(lanes));
}

}  // namespace

void Block::meet(Meeting meeting, uint32_t mask, void* operand, const char* what, bool any_site, Site site) {
  Thread& t = current();
  Warp& w = *t.warp;
  if ((mask & t.bit) == 0) fail(std::string(what) + " with a mask that lacks the caller", site);
  mask &= w.existing;
  w.operands[std::countr_zero(t.bit)] = operand;
  Warp::Open* open = nullptr;
  for (int i = 0; i < w.num_open; ++i) {
    Warp::Open& other = w.open[i];
    if (other.mask == mask && other.meeting == meeting && (any_site || same(other.site, site))) {
      open = &other;
    } else if ((other.mask & t.bit) != 0 && (other.arrived & mask) != 0) {
      // They wait for this lane, and it is about to wait for them.
      fail("the warp diverged: lanes " + lanes_text(other.arrived) + " wait at " + text(other.site) + " in " +
               w.threads[std::countr_zero(other.arrived)].waiting_for + " for lanes " +
               lanes_text(other.mask) + ", lane " + lanes_text(t.bit) + " came to " + what + " for lanes " +
               lanes_text(mask),
           site);
    }
  }
  if (open == nullptr) {
    open = &w.open[w.num_open++];
    *open = {meeting, mask, 0, site, w.next_token++ % 64};
  }
  const int token = open->token;
  if (any_site) release(w.tokens[token]);
  open->arrived |= t.bit;
  if (open->arrived == mask) {
    *open = w.open[--w.num_open];
    try {
      if (meeting != nullptr) meeting(w.operands, mask);
    } catch (const Failure& failure) {
      fail(std::string(what) + ": " + failure.message, site);
    }
    wake(w, mask & ~t.bit);
    maybe_preempt();
  } else {
    wait(what, site);
  }
  if (any_site) acquire(w.tokens[token]);
}

void shuffle(void* const operands[32], uint32_t lanes) {
  uint64_t values[32];
  each(lanes, [&](int lane) { values[lane] = at<ShuffleOperand>(operands, lane).value; });
  each(lanes, [&](int lane) {
    ShuffleOperand& operand = at<ShuffleOperand>(operands, lane);
    if ((lanes >> operand.source & 1) == 0) {
      throw Failure("lane " + std::to_string(lane) + " shuffles from lane " + std::to_string(operand.source) +
                    ", which takes no part");
    }
    operand.result = values[operand.source];
  });
}

void ballot(void* const operands[32], uint32_t lanes) {
  uint32_t result = 0;
  each(lanes,
       [&](int lane) { result |= static_cast<uint32_t>(at<BallotOperand>(operands, lane).value) << lane; });
  each(lanes, [&](int lane) { at<BallotOperand>(operands, lane).result = result; });
}

void gather(void* const operands[32], uint32_t lanes) {
  uint64_t values[32] = {};
  each(lanes, [&](int lane) { values[lane] = at<GatherOperand>(operands, lane).value; });
  each(lanes,
       [&](int lane) { std::memcpy(at<GatherOperand>(operands, lane).results, values, sizeof values); });
}

// In lane order the registers a[j], and b[j], are 8x8 matrices in rows of 16-bit numbers: of A's quarters, and
// of the transposed halves of B. d[0] and d[1] are the rows of D's upper half.
template <Half kHalf>
static void mma(void* const operands[32]) {
  alignas(64) double a[16 * 16], b[16 * 8];
  alignas(64) float d[16 * 8];
  uint32_t registers[6][32];
  for (int lane = 0; lane < 32; ++lane) {
    const MmaOperand& operand = at<MmaOperand>(operands, lane);
    for (int j = 0; j < 4; ++j) registers[j][lane] = operand.a[j];
    for (int j = 0; j < 2; ++j) registers[4 + j][lane] = operand.b[j];
    std::memcpy(d + 2 * lane, operand.d, 8);
    std::memcpy(d + 64 + 2 * lane, operand.d + 2, 8);
  }
  alignas(64) double wide[6 * 64];
  widen(kHalf, reinterpret_cast<const uint16_t*>(registers), wide, 6 * 64);
  for (int j = 0; j < 4; ++j) {
    for (int row = 0; row < 8; ++row) {
      std::memcpy(a + (j % 2 * 8 + row) * 16 + j / 2 * 8, wide + j * 64 + row * 8, 64);
    }
  }
  for (int k = 0; k < 16; ++k) {
    for (int n = 0; n < 8; ++n) b[k * 8 + n] = wide[(4 + k / 8) * 64 + n * 8 + k % 8];
  }
  multiply(d, a, b, 16, 8);
  for (int lane = 0; lane < 32; ++lane) {
    float* to = at<MmaOperand>(operands, lane).d;
    std::memcpy(to, d + 2 * lane, 8);
    std::memcpy(to + 2, d + 64 + 2 * lane, 8);
  }
}

void mma_bf16(void* const operands[32], uint32_t) { mma<Half::kBF16>(operands); }
void mma_f16(void* const operands[32], uint32_t) { mma<Half::kF16>(operands); }

// Row r of matrix j is lane 8j + r's; lane l's register has its row l / 4 at columns 2 (l % 4) and the next.
// Transposed: rows 2 (l % 4) and the next, at column l / 4.
template <int kMatrices, bool kTransposed>
static void load_matrix(void* const operands[32]) {
  for (int j = 0; j < kMatrices; ++j) {
    uint16_t matrix[64];
    for (int r = 0; r < 8; ++r) std::memcpy(matrix + 8 * r, at<MatrixOperand>(operands, 8 * j + r).row, 16);
    for (int lane = 0; lane < 32; ++lane) {
      const int g = lane / 4, t = lane % 4;
      const uint16_t low = kTransposed ? matrix[16 * t + g] : matrix[8 * g + 2 * t];
      const uint16_t high = kTransposed ? matrix[16 * t + 8 + g] : matrix[8 * g + 2 * t + 1];
      at<MatrixOperand>(operands, lane).registers[j] = low | static_cast<uint32_t>(high) << 16;
    }
  }
}

template <int kMatrices, bool kTransposed>
static void store_matrix(void* const operands[32]) {
  for (int j = 0; j < kMatrices; ++j) {
    uint16_t matrix[64];
    for (int lane = 0; lane < 32; ++lane) {
      const int g = lane / 4, t = lane % 4;
      const uint32_t pair = at<MatrixOperand>(operands, lane).registers[j];
      (kTransposed ? matrix[16 * t + g] : matrix[8 * g + 2 * t]) = static_cast<uint16_t>(pair);
      (kTransposed ? matrix[16 * t + 8 + g] : matrix[8 * g + 2 * t + 1]) = static_cast<uint16_t>(pair >> 16);
    }
    for (int r = 0; r < 8; ++r) std::memcpy(at<MatrixOperand>(operands, 8 * j + r).row, matrix + 8 * r, 16);
  }
}

void load_matrix_x2(void* const operands[32], uint32_t) { load_matrix<2, false>(operands); }
void load_matrix_x4(void* const operands[32], uint32_t) { load_matrix<4, false>(operands); }
void load_matrix_x2_trans(void* const operands[32], uint32_t) { load_matrix<2, true>(operands); }
void load_matrix_x4_trans(void* const operands[32], uint32_t) { load_matrix<4, true>(operands); }
void store_matrix_x4(void* const operands[32], uint32_t) { store_matrix<4, false>(operands); }
void store_matrix_x4_trans(void* const operands[32], uint32_t) { store_matrix<4, true>(operands); }

}  // namespace kvasir::cuda::emulator
