#include "checkpoint/quantize.h"

#include <algorithm>
#include <cmath>

#include "checkpoint/convert.h"

namespace kvasir {
namespace {

constexpr int kColumns = static_cast<int>(kBlockColumns);
constexpr float kMostF16 = 65504;

float from_f16(uint16_t bits) { return Element<DType::kF16>::to_f32(bits); }

// The smallest f16 that is not below x, and the largest that is not above; infinity where x is too large.
uint16_t round_up_f16(float x) {
  const uint16_t bits = Element<DType::kF16>::from_f32(x);
  if (from_f16(bits) >= x) return bits;
  // Away from zero for positive numbers, towards it for negative ones; -0 is followed by the smallest positive.
  return bits == 0x8000 ? 1 : static_cast<uint16_t>(bits & 0x8000 ? bits - 1 : bits + 1);
}
uint16_t round_down_f16(float x) { return static_cast<uint16_t>(round_up_f16(-x) ^ 0x8000); }

// Added to a magnitude below 2^22 and taken off again, rounds it to the nearest integer, ties to even: 1.5 * 2^23.
constexpr float kMagic = 12582912.0f;

// The largest magnitude, as bits, which order NaN above infinity above all others.
int32_t most_bits(const float* x) {
  int32_t most = 0;
  for (int i = 0; i < kColumns; i++) most = std::max(most, bits_of_f32(x[i]) & 0x7FFFFFFF);
  return most;
}

// The sum of term(i) over a block's numbers, in eight parts, which the compiler makes vectors of.
template <typename Term>
float sum(const Term& term) {
  constexpr int kParts = 8;
  float parts[kParts] = {};
  for (int i = 0; i < kColumns; i += kParts)
    for (int j = 0; j < kParts; j++) parts[j] += term(i + j);
  return ((parts[0] + parts[4]) + (parts[1] + parts[5])) + ((parts[2] + parts[6]) + (parts[3] + parts[7]));
}

// How a block's numbers are held: number = scale * u + min, u from 0 to 15.
struct Grid {
  uint16_t scale_bits, min_bits;
  float scale, min;

  Grid(float wanted_scale, float wanted_min)
      : scale_bits(round_up_f16(wanted_scale)),
        min_bits(round_down_f16(wanted_min)),
        scale(from_f16(scale_bits)),
        min(from_f16(min_bits)) {}

  // Writes each number's u, as a float, and returns the squared error.
  float fit(const float* x, float* u) const {
    const float inverse = scale > 0 ? 1 / scale : 0;
    for (int i = 0; i < kColumns; i++) {
      const float place = ((x[i] - min) * inverse + kMagic) - kMagic;
      u[i] = std::min(std::max(place, 0.0f), 15.0f);
    }
    return sum([&](int i) {
      const float error = scale * u[i] + min - x[i];
      return error * error;
    });
  }
};

// Scale and min that give x the least squared error where its u are these.
Grid least_squares(const float* x, const float* u, const Grid& fallback) {
  const float sum_u = sum([&](int i) { return u[i]; }), sum_uu = sum([&](int i) { return u[i] * u[i]; });
  const float sum_x = sum([&](int i) { return x[i]; }), sum_ux = sum([&](int i) { return u[i] * x[i]; });
  const float determinant = kColumns * sum_uu - sum_u * sum_u;
  if (!(determinant > 0)) return fallback;
  const float scale = (kColumns * sum_ux - sum_u * sum_x) / determinant;
  const float min = (sum_x - scale * sum_u) / kColumns;
  if (!(scale > 0) || !std::isfinite(min)) return fallback;
  return Grid(scale, min);
}

bool quantize_block(const float* x, Q8Block& out) {
  const int32_t most = most_bits(x);
  if (most > bits_of_f32(kMostF16 * 127)) {
    out = {};
    return true;
  }
  out.scale = round_up_f16(f32_of_bits(most) / 127);
  const float scale = from_f16(out.scale);
  const float inverse = scale > 0 ? 1 / scale : 0;
  for (int i = 0; i < kColumns; i++) out.q[i] = static_cast<int8_t>((x[i] * inverse + kMagic) - kMagic);
  return false;
}

bool quantize_block(const float* x, Q4Block& out) {
  if (most_bits(x) > bits_of_f32(kMostF16)) {
    out = {};
    return true;
  }
  float low = x[0], high = x[0];
  for (int i = 1; i < kColumns; i++) low = std::min(low, x[i]), high = std::max(high, x[i]);
  Grid best((high - low) / 15, low);
  float best_u[kColumns];
  float least = best.fit(x, best_u);
  // Ranges that leave out the outermost numbers round the many others less.
  for (int step = 0; step <= 5 && least > 0; step++) {
    const float inset = static_cast<float>(step) * 0.04f * (high - low);
    const Grid narrow((high - low - 2 * inset) / 15, low + inset);
    float u[kColumns];
    narrow.fit(x, u);
    for (int round = 0; round < 2; round++) {
      const Grid better = least_squares(x, u, narrow);
      const float error = better.fit(x, u);
      if (error >= least) continue;
      least = error;
      best = better;
      std::copy_n(u, kColumns, best_u);
    }
  }
  out.scale = best.scale_bits;
  out.min = best.min_bits;
  for (int i = 0; i < kColumns / 2; i++)
    out.q[i] = static_cast<uint8_t>(static_cast<int>(best_u[i]) | static_cast<int>(best_u[i + 16]) << 4);
  return false;
}

template <typename Block>
bool quantize_all(const float* numbers, int64_t blocks, Block* out) {
  bool too_large = false;
  for (int64_t i = 0; i < blocks; i++) too_large |= quantize_block(numbers + i * kBlockColumns, out[i]);
  return too_large;
}

}  // namespace

bool quantize(const float* numbers, int64_t blocks, Q8Block* out) {
  return quantize_all(numbers, blocks, out);
}

bool quantize(const float* numbers, int64_t blocks, Q4Block* out) {
  return quantize_all(numbers, blocks, out);
}

void dequantize(const Q8Block* blocks, int64_t count, float* out) {
  for (int64_t b = 0; b < count; b++, out += kBlockColumns) {
    const float scale = from_f16(blocks[b].scale);
    for (int i = 0; i < kColumns; i++) out[i] = scale * static_cast<float>(blocks[b].q[i]);
  }
}

void dequantize(const Q4Block* blocks, int64_t count, float* out) {
  for (int64_t b = 0; b < count; b++, out += kBlockColumns) {
    const Q4Block& block = blocks[b];
    const float scale = from_f16(block.scale), min = from_f16(block.min);
    for (int i = 0; i < kColumns / 2; i++) {
      out[i] = scale * static_cast<float>(block.q[i] & 15) + min;
      out[i + kColumns / 2] = scale * static_cast<float>(block.q[i] >> 4) + min;
    }
  }
}

}  // namespace kvasir
