#include "checkpoint/gguf-types.h"

#include <cstring>

#include "checkpoint/convert.h"
#include "types/blocks.h"

// Each format is a struct whose decode() writes one block's numbers. Products and sums are rounded one by one, in
// the order of the formula: the values are then those of every other reader, bit for bit. Bytes are little-endian.
// keep(), where a format has it, writes the same numbers as blocks of 32 with a scale (and a minimum) in f16.

namespace kvasir {
namespace {

using Bytes = const uint8_t*;

uint32_t u16_at(Bytes p) { return static_cast<uint32_t>(p[0] | p[1] << 8); }
uint32_t u32_at(Bytes p) { return u16_at(p) | u16_at(p + 2) << 16; }
float f16_at(Bytes p) {
  const uint16_t bits = static_cast<uint16_t>(u16_at(p));
  float value;
  convert<DType::kF16, DType::kF32>(&bits, &value, 1);
  return value;
}
// Rounded to the nearest; infinite where it is too large.
uint16_t to_f16(float x) { return Element<DType::kF16>::from_f32(x); }
int low(uint8_t byte) { return byte & 15; }
int high(uint8_t byte) { return byte >> 4; }
int signed_at(Bytes p) { return static_cast<int8_t>(*p); }

// --- 32 numbers: low nibbles are the first half, high ones the second ---

struct Q4_0 {  // d, 16 bytes
  static constexpr int64_t kNumbers = 32, kBytes = 18;
  static void decode(Bytes b, float* y) {
    const float d = f16_at(b);
    for (int j = 0; j < 16; j++) {
      y[j] = static_cast<float>(low(b[2 + j]) - 8) * d;
      y[j + 16] = static_cast<float>(high(b[2 + j]) - 8) * d;
    }
  }
  static void keep(Bytes b, Q4Block* out) {
    out->scale = static_cast<uint16_t>(u16_at(b));
    out->min = to_f16(-8 * f16_at(b));
    std::memcpy(out->q, b + 2, sizeof out->q);
  }
};

struct Q4_1 {  // d, m, 16 bytes
  static constexpr int64_t kNumbers = 32, kBytes = 20;
  static void decode(Bytes b, float* y) {
    const float d = f16_at(b), m = f16_at(b + 2);
    for (int j = 0; j < 16; j++) {
      y[j] = static_cast<float>(low(b[4 + j])) * d + m;
      y[j + 16] = static_cast<float>(high(b[4 + j])) * d + m;
    }
  }
  static void keep(Bytes b, Q4Block* out) { std::memcpy(out, b, sizeof *out); }
};

// The fifth bit of number i is bit i of a word.
int fifth(uint32_t bits, int i) { return static_cast<int>(bits >> i & 1) << 4; }

struct Q5_0 {  // d, 32 bits, 16 bytes
  static constexpr int64_t kNumbers = 32, kBytes = 22;
  static void decode(Bytes b, float* y) {
    const float d = f16_at(b);
    const uint32_t bits = u32_at(b + 2);
    for (int j = 0; j < 16; j++) {
      y[j] = static_cast<float>((low(b[6 + j]) | fifth(bits, j)) - 16) * d;
      y[j + 16] = static_cast<float>((high(b[6 + j]) | fifth(bits, j + 16)) - 16) * d;
    }
  }
  static void keep(Bytes b, Q8Block* out) {
    const uint32_t bits = u32_at(b + 2);
    out->scale = static_cast<uint16_t>(u16_at(b));
    for (int j = 0; j < 16; j++) {
      out->q[j] = static_cast<int8_t>((low(b[6 + j]) | fifth(bits, j)) - 16);
      out->q[j + 16] = static_cast<int8_t>((high(b[6 + j]) | fifth(bits, j + 16)) - 16);
    }
  }
};

struct Q5_1 {  // d, m, 32 bits, 16 bytes
  static constexpr int64_t kNumbers = 32, kBytes = 24;
  static void decode(Bytes b, float* y) {
    const float d = f16_at(b), m = f16_at(b + 2);
    const uint32_t bits = u32_at(b + 4);
    for (int j = 0; j < 16; j++) {
      y[j] = static_cast<float>(low(b[8 + j]) | fifth(bits, j)) * d + m;
      y[j + 16] = static_cast<float>(high(b[8 + j]) | fifth(bits, j + 16)) * d + m;
    }
  }
};

struct Q8_0 {  // d, 32 bytes
  static constexpr int64_t kNumbers = 32, kBytes = 34;
  static void decode(Bytes b, float* y) {
    const float d = f16_at(b);
    for (int j = 0; j < 32; j++) y[j] = static_cast<float>(signed_at(b + 2 + j)) * d;
  }
  static void keep(Bytes b, Q8Block* out) { std::memcpy(out, b, sizeof *out); }
};

// --- 256 numbers, with scales of their own for every 16 or 32 ---

struct Q2_K {  // 16 bytes of scales (low) and minima (high), 64 bytes of quarters, d, dmin
  static constexpr int64_t kNumbers = 256, kBytes = 84;
  static void decode(Bytes b, float* y) {
    const float d = f16_at(b + 80), dmin = f16_at(b + 82);
    for (int group = 0; group < 16; group++, y += 16) {
      const Bytes q = b + 16 + group / 8 * 32 + group % 2 * 16;
      const int shift = group % 8 / 2 * 2;
      const float scale = d * static_cast<float>(low(b[group]));
      const float min = dmin * static_cast<float>(high(b[group]));
      for (int i = 0; i < 16; i++) y[i] = scale * static_cast<float>(q[i] >> shift & 3) - min;
    }
  }
};

struct Q3_K {  // 32 bytes of third bits, 64 bytes of quarters, 12 bytes of scales, d
  static constexpr int64_t kNumbers = 256, kBytes = 110;
  // Six bits: four of the first eight bytes' nibbles, two of the last four bytes.
  static int scale_of(Bytes scales, int group) {
    const int lower = group < 8 ? low(scales[group]) : high(scales[group - 8]);
    return (lower | (scales[8 + group % 4] >> group / 4 * 2 & 3) << 4) - 32;
  }
  static void decode(Bytes b, float* y) {
    const float d = f16_at(b + 108);
    for (int group = 0; group < 16; group++, y += 16) {
      const Bytes q = b + 32 + group / 8 * 32 + group % 2 * 16, third = b + group % 2 * 16;
      const int shift = group % 8 / 2 * 2, bit = group / 2;
      const float scale = d * static_cast<float>(scale_of(b + 96, group));
      for (int i = 0; i < 16; i++)
        y[i] = scale * static_cast<float>((q[i] >> shift & 3) - (third[i] >> bit & 1 ? 0 : 4));
    }
  }
};

// Eight scales and eight minima of six bits in twelve bytes.
struct SixBits {
  Bytes bytes;
  int scale(int i) const { return i < 4 ? bytes[i] & 63 : low(bytes[i + 4]) | bytes[i - 4] >> 6 << 4; }
  int min(int i) const { return i < 4 ? bytes[i + 4] & 63 : high(bytes[i + 4]) | bytes[i] >> 6 << 4; }
};

struct Q4_K {  // d, dmin, 12 bytes of scales and minima, 128 bytes
  static constexpr int64_t kNumbers = 256, kBytes = 144;
  static void decode(Bytes b, float* y) {
    const float d = f16_at(b), dmin = f16_at(b + 2);
    const SixBits six{b + 4};
    for (int group = 0; group < 8; group++, y += 32) {
      const Bytes q = b + 16 + group / 2 * 32;
      const float scale = d * static_cast<float>(six.scale(group));
      const float min = dmin * static_cast<float>(six.min(group));
      for (int i = 0; i < 32; i++)
        y[i] = scale * static_cast<float>(group % 2 == 0 ? low(q[i]) : high(q[i])) - min;
    }
  }
  static void keep(Bytes b, Q4Block* out) {
    const float d = f16_at(b), dmin = f16_at(b + 2);
    const SixBits six{b + 4};
    for (int group = 0; group < 8; group++, out++) {
      const Bytes q = b + 16 + group / 2 * 32;
      const int shift = group % 2 * 4;
      out->scale = to_f16(d * static_cast<float>(six.scale(group)));
      out->min = to_f16(-(dmin * static_cast<float>(six.min(group))));
      for (int i = 0; i < 16; i++)
        out->q[i] = static_cast<uint8_t>((q[i] >> shift & 15) | (q[i + 16] >> shift & 15) << 4);
    }
  }
};

struct Q5_K {  // d, dmin, 12 bytes of scales and minima, 32 bytes of fifth bits, 128 bytes
  static constexpr int64_t kNumbers = 256, kBytes = 176;
  static void decode(Bytes b, float* y) {
    const float d = f16_at(b), dmin = f16_at(b + 2);
    const SixBits six{b + 4};
    for (int group = 0; group < 8; group++, y += 32) {
      const Bytes q = b + 48 + group / 2 * 32, bits = b + 16;
      const float scale = d * static_cast<float>(six.scale(group));
      const float min = dmin * static_cast<float>(six.min(group));
      for (int i = 0; i < 32; i++)
        y[i] = scale * static_cast<float>((group % 2 == 0 ? low(q[i]) : high(q[i])) | fifth(bits[i], group)) -
               min;
    }
  }
};

struct Q6_K {  // 128 bytes of low nibbles, 64 bytes of upper pairs of bits, 16 scales, d
  static constexpr int64_t kNumbers = 256, kBytes = 210;
  static void decode(Bytes b, float* y) {
    const float d = f16_at(b + 208);
    for (int group = 0; group < 8; group++, y += 32) {
      const int half = group / 4, quarter = group % 4;
      const Bytes lower = b + half * 64 + quarter % 2 * 32, upper = b + 128 + half * 32;
      for (int i = 0; i < 32; i++) {
        const int nibble = quarter < 2 ? low(lower[i]) : high(lower[i]);
        const int q = (nibble | (upper[i] >> 2 * quarter & 3) << 4) - 32;
        y[i] = d * static_cast<float>(signed_at(b + 192 + group * 2 + i / 16)) * static_cast<float>(q);
      }
    }
  }
};

// --- nibbles that choose from a table ---

constexpr float kIq4[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

// 16 bytes of numbers of a table, times a scale.
void keep_entries(const float (&table)[16], Bytes q, float scale, Q8Block* out) {
  out->scale = to_f16(scale);
  for (int j = 0; j < 16; j++) {
    out->q[j] = static_cast<int8_t>(table[low(q[j])]);
    out->q[j + 16] = static_cast<int8_t>(table[high(q[j])]);
  }
}

struct IQ4_NL {  // d, 16 bytes
  static constexpr int64_t kNumbers = 32, kBytes = 18;
  static void decode(Bytes b, float* y) {
    const float d = f16_at(b);
    for (int j = 0; j < 16; j++) {
      y[j] = d * kIq4[low(b[2 + j])];
      y[j + 16] = d * kIq4[high(b[2 + j])];
    }
  }
  static void keep(Bytes b, Q8Block* out) { keep_entries(kIq4, b + 2, f16_at(b), out); }
};

struct IQ4_XS {  // d, upper pairs of bits of eight scales, their low nibbles, 128 bytes
  static constexpr int64_t kNumbers = 256, kBytes = 136;
  static float scale_of(Bytes b, int group) {
    const uint8_t pair = b[4 + group / 2];
    const int lower = group % 2 == 0 ? low(pair) : high(pair);
    const uint32_t upper = u16_at(b + 2) >> 2 * group & 3;
    return f16_at(b) * static_cast<float>((lower | static_cast<int>(upper) << 4) - 32);
  }
  static void decode(Bytes b, float* y) {
    for (int group = 0; group < 8; group++, y += 32) {
      const float scale = scale_of(b, group);
      const Bytes q = b + 8 + group * 16;
      for (int j = 0; j < 16; j++) {
        y[j] = scale * kIq4[low(q[j])];
        y[j + 16] = scale * kIq4[high(q[j])];
      }
    }
  }
  static void keep(Bytes b, Q8Block* out) {
    for (int group = 0; group < 8; group++)
      keep_entries(kIq4, b + 8 + group * 16, scale_of(b, group), out + group);
  }
};

// Twice the numbers of E2M1, https://www.opencompute.org/documents/ocp-microscaling-formats-mx-v1-0-spec-final-pdf
constexpr float kE2M1[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

struct MXFP4 {  // an exponent, 16 bytes
  static constexpr int64_t kNumbers = 32, kBytes = 17;
  // 2^(e - 128), half of what the exponent says
  static float scale_of(uint8_t e) {
    const uint32_t bits = e < 2 ? uint32_t{0x00200000} << e : static_cast<uint32_t>(e - 1) << 23;
    float scale;
    std::memcpy(&scale, &bits, sizeof scale);
    return scale;
  }
  static void decode(Bytes b, float* y) {
    const float d = scale_of(b[0]);
    for (int j = 0; j < 16; j++) {
      y[j] = kE2M1[low(b[1 + j])] * d;
      y[j + 16] = kE2M1[high(b[1 + j])] * d;
    }
  }
  static void keep(Bytes b, Q8Block* out) { keep_entries(kE2M1, b + 1, scale_of(b[0]), out); }
};

template <class Format>
void dequantize(const std::byte* blocks, int64_t count, float* out) {
  for (int64_t i = 0; i < count; i++) {
    uint8_t block[Format::kBytes];
    std::memcpy(block, blocks + i * Format::kBytes, sizeof block);
    Format::decode(block, out + i * Format::kNumbers);
  }
}

bool is_finite(uint16_t f16) { return (f16 & 0x7C00) != 0x7C00; }
bool is_finite(const Q8Block& block) { return is_finite(block.scale); }
bool is_finite(const Q4Block& block) { return is_finite(block.scale) && is_finite(block.min); }

template <class Format, class Block>
bool keep_as(const std::byte* blocks, int64_t count, std::byte* out) {
  constexpr int64_t kEach = Format::kNumbers / kBlockColumns;
  bool infinite = false;
  for (int64_t i = 0; i < count; i++) {
    uint8_t block[Format::kBytes];
    std::memcpy(block, blocks + i * Format::kBytes, sizeof block);
    Block kept[kEach];
    Format::keep(block, kept);
    for (const Block& one : kept) infinite |= !is_finite(one);
    std::memcpy(out + i * static_cast<int64_t>(sizeof kept), kept, sizeof kept);
  }
  return infinite;
}

template <class Format>
constexpr GgufType row(uint32_t id, std::string_view name) {
  GgufType type{id, name, Format::kNumbers, Format::kBytes, dequantize<Format>, DType::kQ8, nullptr};
  if constexpr (requires(Bytes b, Q8Block * out) { Format::keep(b, out); }) {
    type.keep = keep_as<Format, Q8Block>;
  } else if constexpr (requires(Bytes b, Q4Block * out) { Format::keep(b, out); }) {
    type.kept = DType::kQ4;
    type.keep = keep_as<Format, Q4Block>;
  }
  return type;
}

constexpr GgufType plain(uint32_t id, std::string_view name, int64_t numbers, int64_t bytes) {
  return {id, name, numbers, bytes, nullptr, DType::kF32, nullptr};
}

// Every type that files have today. What was removed from the format (4, 5, 31 to 33, 36 to 38) is not here.
constexpr GgufType kTypes[] = {
    plain(0, "F32", 1, 4),        plain(1, "F16", 1, 2),         row<Q4_0>(2, "Q4_0"),
    row<Q4_1>(3, "Q4_1"),         row<Q5_0>(6, "Q5_0"),          row<Q5_1>(7, "Q5_1"),
    row<Q8_0>(8, "Q8_0"),         plain(9, "Q8_1", 32, 36),      row<Q2_K>(10, "Q2_K"),
    row<Q3_K>(11, "Q3_K"),        row<Q4_K>(12, "Q4_K"),         row<Q5_K>(13, "Q5_K"),
    row<Q6_K>(14, "Q6_K"),        plain(15, "Q8_K", 256, 292),   plain(16, "IQ2_XXS", 256, 66),
    plain(17, "IQ2_XS", 256, 74), plain(18, "IQ3_XXS", 256, 98), plain(19, "IQ1_S", 256, 50),
    row<IQ4_NL>(20, "IQ4_NL"),    plain(21, "IQ3_S", 256, 110),  plain(22, "IQ2_S", 256, 82),
    row<IQ4_XS>(23, "IQ4_XS"),    plain(24, "I8", 1, 1),         plain(25, "I16", 1, 2),
    plain(26, "I32", 1, 4),       plain(27, "I64", 1, 8),        plain(28, "F64", 1, 8),
    plain(29, "IQ1_M", 256, 56),  plain(30, "BF16", 1, 2),       plain(34, "TQ1_0", 256, 54),
    plain(35, "TQ2_0", 256, 66),  row<MXFP4>(39, "MXFP4"),
};

}  // namespace

const GgufType* gguf_type(uint32_t id) {
  for (const GgufType& type : kTypes)
    if (type.id == id) return &type;
  return nullptr;
}

const GgufType* gguf_type(std::string_view name) {
  for (const GgufType& type : kTypes)
    if (type.name == name) return &type;
  return nullptr;
}

}  // namespace kvasir
