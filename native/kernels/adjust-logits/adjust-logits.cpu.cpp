// A thread takes 16384 tokens of a row: copies them, 32 with each word of the mask, then goes through all of the row's
// edits for those that are of its tokens. 8 bytes a token move.

#include "kernels/adjust-logits/adjust-logits.h"

#include "device/cpu/rows.h"

namespace kvasir::KVASIR_ISA {

constexpr int64_t kWordBits = 32;

static void copy_masked(const float* x, const int32_t* words, float* y, int64_t count) {
  const Vec banned = broadcast(-__builtin_inff());
  for_each_vector(count, [&](int64_t c, auto lanes) {
    const uint32_t bits = static_cast<uint32_t>(words[c / kWordBits]) >> (c % kWordBits);
    store(y + c, select_bits(bits, load(x + c, lanes), banned), lanes);
  });
}

static void copy_all(const float* x, float* y, int64_t count) {
  for_each_vector(count, [&](int64_t c, auto lanes) { store(y + c, load(x + c, lanes), lanes); });
}

static float edited(float x, float factor, float offset) {
  return (x > 0 ? x / factor : x * factor) + offset;
}

static bool is_allowed(const int32_t* words, int64_t id) {
  return words == nullptr || (static_cast<uint32_t>(words[id / kWordBits]) >> (id % kWordBits) & 1) != 0;
}

// Tokens `begin` to `begin + count - 1` of row r; `begin` is a multiple of 32.
static void adjust_piece(const AdjustLogits& p, int64_t r, int64_t begin, int64_t count) {
  const float* x = floats(p.logits) + r * p.logits_stride;
  float* y = p.adjusted + r * p.adjusted_stride;
  const int32_t* words = p.mask_rows[r] < 0 ? nullptr : p.masks + p.mask_rows[r] * mask_words(p.V);
  if (words != nullptr) {
    copy_masked(x + begin, words + begin / kWordBits, y + begin, count);
  } else {
    copy_all(x + begin, y + begin, count);
  }
  for (int64_t e = p.edit_starts[r]; e < p.edit_starts[r + 1]; e++) {
    const int64_t id = p.edit_ids[e];
    if (id < begin || id >= begin + count || !is_allowed(words, id)) continue;
    y[id] = edited(x[id], p.edit_factors[e], p.edit_offsets[e]);
  }
}

void adjust_logits(const AdjustLogits& p, Execution& execution) {
  static_assert(kChunkElements % kWordBits == 0 && kWordBits % kWidth == 0);
  parallel_pieces(execution, p.R, p.V,
                  [&](int64_t r, int64_t begin, int64_t count) { adjust_piece(p, r, begin, count); });
}

}  // namespace kvasir::KVASIR_ISA
