#include "checkpoint/quantize.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "checkpoint/convert.h"

namespace kvasir {
namespace {

constexpr int kColumns = static_cast<int>(kBlockColumns);
constexpr float kMostF16 = 65504;

// One at a time, the branches of convert.h's formulas that are not taken cost more than the rest.
float from_f16(uint16_t bits) {
  const int32_t exponent = bits & 0x7C00, magnitude = bits & 0x7FFF;
  const float x =
      exponent == 0 ? static_cast<float>(magnitude) * 0x1p-24f : f32_of_bits((magnitude << 13) + (112 << 23));
  return bits & 0x8000 ? -x : x;
}

// The smallest finite f16 that is not below x, and the largest that is not above; |x| is at most kMostF16.
uint16_t round_up_f16(float x) {
  const int32_t bits = bits_of_f32(x), magnitude = bits & 0x7FFFFFFF;
  const bool negative = bits < 0;
  const auto sign = static_cast<uint16_t>(negative ? 0x8000 : 0);
  if (magnitude >= 113 << 23)
    return static_cast<uint16_t>(sign | (magnitude - (112 << 23) + (negative ? 0 : 0x1FFF)) >> 13);
  const float units = f32_of_bits(magnitude) * 0x1p24f;  // of subnormal numbers
  const auto whole = static_cast<int32_t>(units);
  return static_cast<uint16_t>(sign | (whole + (!negative && static_cast<float>(whole) < units)));
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

// Four numbers in a register.
using Four [[gnu::vector_size(16)]] = float;
constexpr int kFours = kColumns / 4;

Four load(const float* x) {
  Four numbers;
  std::memcpy(&numbers, x, sizeof numbers);
  return numbers;
}

float sum(Four x) { return (x[0] + x[1]) + (x[2] + x[3]); }

// A block's numbers on a grid: x about scale * u + min, u from 0 to 15.
struct Grid {
  uint16_t scale_bits, min_bits;
  float scale, min;
  Four u[kFours];
  float error;  // the sum of squares

  Grid(const float* x, float wanted_scale, float wanted_min)
      : scale_bits(round_up_f16(wanted_scale)),
        min_bits(round_down_f16(wanted_min)),
        scale(from_f16(scale_bits)),
        min(from_f16(min_bits)) {
    const float inverse = scale > 0 ? 1 / scale : 0;
    const Four zero{}, most = zero + 15;
    Four errors{};
    for (int i = 0; i < kFours; i++) {
      const Four number = load(x + 4 * i);
      Four place = ((number - min) * inverse + kMagic) - kMagic;
      place = place > zero ? place : zero;
      place = place < most ? place : most;
      const Four error = scale * place + min - number;
      errors += error * error;
      u[i] = place;
    }
    error = sum(errors);
  }
};

// A block's numbers as whole multiples, from -127 to 127, of a scale that is at least the largest magnitude / 127.
struct Multiples {
  uint16_t scale_bits;
  float scale;
  Four q[kFours];
  float error;  // the sum of squares

  Multiples(const float* x, float wanted_scale)
      : scale_bits(round_up_f16(wanted_scale)), scale(from_f16(scale_bits)) {
    const float inverse = scale > 0 ? 1 / scale : 0;
    Four errors{};
    for (int i = 0; i < kFours; i++) {
      const Four number = load(x + 4 * i);
      const Four multiple = (number * inverse + kMagic) - kMagic;
      const Four error = scale * multiple - number;
      errors += error * error;
      q[i] = multiple;
    }
    error = sum(errors);
  }
};

// A scale larger than need be may by chance lie better for a block's other numbers. Of these, under which the largest
// is 127, 126.5, ... 121 multiples, the best has 0.82 of the least scale's squared error (normal numbers); more scales
// would bring 0.80, least squares 0.02 less. Closer ones are too much alike.
Multiples improve(const float* x, float most, const Multiples& plain) {
  constexpr int kScales = 12;
  float error = plain.error, scale = plain.scale;
  for (int i = 1; i <= kScales; i++) {
    const Multiples tried(x, std::min(most / (127 - 0.5f * static_cast<float>(i)), kMostF16));
    scale = tried.error < error ? tried.scale : scale;
    error = std::min(tried.error, error);
  }
  return Multiples(x, scale);
}

bool quantize_block(const float* x, Q8Block& out) {
  const int32_t most = most_bits(x);
  if (most > bits_of_f32(kMostF16 * 127)) {
    out = {};
    return true;
  }
  Multiples best(x, f32_of_bits(most) / 127);
  if (best.error > 0) best = improve(x, f32_of_bits(most), best);
  out.scale = best.scale_bits;
  for (int i = 0; i < kColumns; i++) out.q[i] = static_cast<int8_t>(best.q[i / 4][i % 4]);
  return false;
}

// The grid of a scale and a min as they are, for numbers that are given from their least on.
struct Fit {
  float scale, min;
  float sum_u, sum_uu, sum_ux;
  float gain;  // how much less the sum of squared errors is than that of the numbers

  Fit(const float* above, float sum_x, float scale, float min) : scale(scale), min(min) {
    const float inverse = 1 / scale, shift = -min * inverse;
    const Four zero{}, most = zero + 15;
    Four us{}, uus{}, uxs{};
    for (int i = 0; i < kFours; i++) {
      const Four number = load(above + 4 * i);
      Four place = (number * inverse + shift + kMagic) - kMagic;
      place = place > zero ? place : zero;
      place = place < most ? place : most;
      us += place;
      uus += place * place;
      uxs += place * number;
    }
    sum_u = sum(us);
    sum_uu = sum(uus);
    sum_ux = sum(uxs);
    gain = 2 * (scale * sum_ux + min * sum_x) - scale * (scale * sum_uu + 2 * min * sum_u) -
           kColumns * min * min;
  }
};

// With the scale and the min that give the least squared error where the numbers stay at their places.
Fit least_squares(const float* above, float sum_x, const Fit& fit) {
  const float determinant = kColumns * fit.sum_uu - fit.sum_u * fit.sum_u;
  const float scale = (kColumns * fit.sum_ux - fit.sum_u * sum_x) / determinant;
  const float min = (sum_x - scale * fit.sum_u) / kColumns;
  const bool found = determinant > 0 && scale > 0;
  return Fit(above, sum_x, found ? scale : fit.scale, found ? min : fit.min);
}

// Ranges that leave out the outermost numbers, on either side or both, round the many others less. All are improved
// side by side: each waits for its own sums, and the processor computes another's meanwhile.
Grid improve(const float* x, float low, float high, const Grid& plain) {
  constexpr int kRanges = 4, kRounds = 3;
  alignas(16) float above[kColumns];
  float sum_x = 0;
  for (int i = 0; i < kColumns; i++) above[i] = x[i] - low;
  for (int i = 0; i < kColumns; i++) sum_x += above[i];
  const float range = high - low, inset = 0.08f * range;
  Fit fits[kRanges] = {{above, sum_x, range / 15, 0},
                       {above, sum_x, (range - inset) / 15, inset},
                       {above, sum_x, (range - inset) / 15, 0},
                       {above, sum_x, (range - 2 * inset) / 15, inset}};
  float gain = 0, scale = plain.scale, min = plain.min;
  for (int round = 0; round < kRounds; round++)
    for (Fit& fit : fits) {
      fit = least_squares(above, sum_x, fit);
      scale = fit.gain > gain ? fit.scale : scale;
      min = fit.gain > gain ? fit.min + low : min;
      gain = std::max(fit.gain, gain);
    }
  const Grid best(x, std::min(scale, kMostF16), std::clamp(min, -kMostF16, kMostF16));
  return best.error < plain.error ? best : plain;
}

bool quantize_block(const float* x, Q4Block& out) {
  if (most_bits(x) > bits_of_f32(kMostF16)) {
    out = {};
    return true;
  }
  float low = x[0], high = x[0];
  for (int i = 1; i < kColumns; i++) low = std::min(low, x[i]), high = std::max(high, x[i]);
  Grid best(x, (high - low) / 15, low);
  if (best.error > 0) best = improve(x, low, high, best);
  out.scale = best.scale_bits;
  out.min = best.min_bits;
  for (int i = 0; i < kColumns / 2; i++) {
    const int low_half = static_cast<int>(best.u[i / 4][i % 4]);
    const int high_half = static_cast<int>(best.u[i / 4 + kFours / 2][i % 4]);
    out.q[i] = static_cast<uint8_t>(low_half | high_half << 4);
  }
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
