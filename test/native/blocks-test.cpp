// Quantisation, and matrices in blocks: what any way of loading leaves in any layout is what the rows' own blocks hold.

#include <array>
#include <cmath>

#include "check.h"
#include "checkpoint/quantize.h"
#include "weights.h"

namespace kvasir::test {
namespace {

using Numbers = std::array<float, kBlockColumns>;

template <class Stored>
struct Rounding {
  bool too_large;
  Stored block;
  Numbers numbers;
  double error;  // mean square
};

template <class Stored>
Rounding<Stored> round(const Numbers& x) {
  Rounding<Stored> result{};
  result.too_large = quantize(x.data(), 1, &result.block);
  dequantize(&result.block, 1, result.numbers.data());
  for (size_t i = 0; i < x.size(); ++i)
    result.error += std::pow(double{x[i]} - double{result.numbers[i]}, 2) / double{kBlockColumns};
  return result;
}

Numbers random_numbers(std::mt19937& random, float scale, float offset = 0) {
  std::normal_distribution<float> normal(offset, scale);
  Numbers numbers;
  for (float& x : numbers) x = normal(random);
  return numbers;
}

Numbers all(float x) {
  Numbers numbers;
  numbers.fill(x);
  return numbers;
}

// Mean square error of 16 levels from the least to the largest number.
double plain_error(const Numbers& x) {
  double low = *std::min_element(x.begin(), x.end()), high = *std::max_element(x.begin(), x.end());
  double step = (high - low) / 15, error = 0;
  for (float number : x)
    error += std::pow(number - (low + std::nearbyint((number - low) / step) * step), 2) / kBlockColumns;
  return error;
}

// Of the multiples of the least scale that f16 has and that makes no number more than 127.
double plain_q8_error(const Numbers& x) {
  float most = 0;
  for (float number : x) most = std::max(most, std::fabs(number));
  uint16_t bits = Element<DType::kF16>::from_f32(most / 127);
  if (Element<DType::kF16>::to_f32(bits) < most / 127) ++bits;
  const float step = Element<DType::kF16>::to_f32(bits);
  double error = 0;
  for (float number : x) error += std::pow(number - step * std::nearbyint(number / step), 2) / kBlockColumns;
  return error;
}

// A matrix's rows, each by itself, in blocks and back. A last block repeats its first number.
template <class Stored>
std::vector<float> in_blocks(const std::vector<double>& values, int64_t rows, int64_t cols) {
  std::vector<float> result;
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t first = 0; first < cols; first += kBlockColumns) {
      const int64_t count = std::min(kBlockColumns, cols - first);
      Numbers x = all(static_cast<float>(values[static_cast<size_t>(row * cols + first)]));
      for (int64_t i = 0; i < count; ++i)
        x[static_cast<size_t>(i)] = static_cast<float>(values[static_cast<size_t>(row * cols + first + i)]);
      const Numbers rounded = round<Stored>(x).numbers;
      result.insert(result.end(), rounded.begin(), rounded.begin() + count);
    }
  return result;
}

template <class Stored>
bool loads(DType stored, DType from, Layout layout, int64_t rows, int64_t cols, bool transposed,
           const std::shared_ptr<WeightMemory>& memory = host_memory()) {
  Bench bench;
  bench.add(DType::kF32, {3});
  Source source = bench.add(from, transposed ? std::vector{cols, rows} : std::vector{rows, cols});
  std::vector<double> values(source.values);
  if (transposed)
    for (int64_t row = 0; row < rows; ++row)
      for (int64_t col = 0; col < cols; ++col)
        values[static_cast<size_t>(row * cols + col)] = source.values[static_cast<size_t>(col * rows + row)];
  WeightStore store(memory);
  const int64_t offset = 5;  // so that no panel begins with the part
  store.declare("w", stored, layout, rows + offset, cols);
  LoadPart part;
  part.file = bench.file();
  part.source = &source.entry;
  part.transposed = transposed;
  part.row_offset = offset;
  if (!store.load("w", part, threads(2))) return false;
  std::vector<float> copy(static_cast<size_t>((rows + offset) * cols));
  store.copy_out("w", copy.data());
  const std::vector<float> expected = in_blocks<Stored>(values, rows, cols);
  return std::equal(expected.begin(), expected.end(), copy.begin() + offset * cols) &&
         std::all_of(copy.begin(), copy.begin() + offset * cols, [](float x) { return x == 0; });
}

}  // namespace

void blocks_tests() {
  test("q8: the nearest multiples of a scale that f16 has, the largest of them 121 to 127", [] {
    std::mt19937 random(1);
    for (float scale : {1e-6f, 1e-3f, 1.0f, 1e4f}) {
      const Numbers x = random_numbers(random, scale);
      const auto [too_large, block, numbers, error] = round<Q8Block>(x);
      const float step = Element<DType::kF16>::to_f32(block.scale);
      float most = 0;
      for (size_t i = 0; i < x.size(); ++i) {
        CHECK(std::fabs(numbers[i] - x[i]) <= 0.5001f * step);
        most = std::max(most, std::fabs(x[i]));
      }
      CHECK(!too_large && step >= most / 127 && step <= most / 121 * 1.001f + 6e-8f);
    }
  });

  test("q8 and q4: blocks that are their own come out as they went in", [] {
    std::mt19937 random(2);
    for (int i = 0; i < 200; ++i) {
      Q8Block q8{static_cast<uint16_t>(0x1000 + random() % 0x5000), {}};
      const int most = 127 - i % 7;
      for (int8_t& q : q8.q) q = static_cast<int8_t>(static_cast<int>(random() % (2 * most + 1)) - most);
      q8.q[random() % 32] = static_cast<int8_t>(most);
      Q4Block q4{static_cast<uint16_t>(0x1400 + random() % 0x2000),
                 static_cast<uint16_t>(0x9400 + random() % 0x2000),
                 {0xf0}};
      for (size_t j = 1; j < sizeof q4.q; ++j) q4.q[j] = static_cast<uint8_t>(random());
      Numbers numbers;
      dequantize(&q8, 1, numbers.data());
      const auto again = round<Q8Block>(numbers);
      CHECK(again.error == 0 && again.block.scale == q8.scale);
      dequantize(&q4, 1, numbers.data());
      CHECK(round<Q4Block>(numbers).error == 0);
    }
  });

  test("q8: less error than in multiples of the largest number / 127", [] {
    std::mt19937 random(4);
    for (float scale : {1e-3f, 0.02f, 1.0f}) {
      double error = 0, plain = 0;
      for (int i = 0; i < 2000; ++i) {
        const Numbers x = random_numbers(random, scale);
        const double found = round<Q8Block>(x).error, other = plain_q8_error(x);
        CHECK(found <= 1.0001 * other);
        error += found;
        plain += other;
      }
      CHECK(error < 0.84 * plain);
    }
  });

  test("q4: less error than from the least to the largest number", [] {
    std::mt19937 random(3);
    double error = 0, plain = 0;
    for (int i = 0; i < 2000; ++i) {
      const Numbers x = random_numbers(random, 0.02f);
      error += round<Q4Block>(x).error;
      plain += plain_error(x);
    }
    CHECK(error < 0.84 * plain);
    for (int i = 0; i < 200; ++i) {
      const Numbers x = random_numbers(random, 1, 30);
      CHECK(round<Q4Block>(x).error < 1.1 * plain_error(x));
    }
  });

  test("blocks of one number, of zeros and at the edges of f16", [] {
    for (float x : {0.0f, 1.0f, -0.1f, 6e-8f, -65504.0f, 65504.0f}) {
      CHECK(!round<Q8Block>(all(x)).too_large && !round<Q4Block>(all(x)).too_large);
      CHECK(std::fabs(round<Q8Block>(all(x)).numbers[7] - x) <= std::fabs(x) * 0.002f + 6e-8f);
      CHECK(std::fabs(round<Q4Block>(all(x)).numbers[7] - x) <= std::fabs(x) * 0.001f + 6e-8f);
    }
    CHECK(!round<Q8Block>(all(127 * 65504.0f)).too_large && round<Q8Block>(all(8.4e6f)).too_large);
    CHECK(round<Q4Block>(all(65600)).too_large);
    for (float x : {NAN, INFINITY, -INFINITY}) {
      Numbers one{};
      one[31] = x;
      CHECK(round<Q8Block>(one).too_large && round<Q4Block>(one).too_large);
    }
  });

  test("matrices in blocks, from any type, in every layout, transposed or not", [] {
    for (DType from : kDTypes)
      for (Layout layout : {Layout::kRows, Layout::kPanels, Layout::kTiles})
        for (auto [rows, cols] : {std::pair{1, 1}, {3, 31}, {33, 32}, {70, 33}, {40, 96}, {27, 600}})
          for (bool transposed : {false, true}) {
            CHECK(loads<Q8Block>(DType::kQ8, from, layout, rows, cols, transposed));
            CHECK(loads<Q4Block>(DType::kQ4, from, layout, rows, cols, transposed));
          }
  });

  test("matrices in blocks on a device", [] {
    for (Layout layout : {Layout::kRows, Layout::kTiles})
      for (auto [rows, cols] : {std::pair{1, 1}, {60, 33}, {70, 96}, {27, 600}})
        for (bool transposed : {false, true}) {
          const auto memory = std::make_shared<DeviceMemory>();
          CHECK(loads<Q8Block>(DType::kQ8, DType::kBF16, layout, rows, cols, transposed, memory));
          CHECK(loads<Q4Block>(DType::kQ4, DType::kF32, layout, rows, cols, transposed, memory));
        }
  });

  test("a matrix in blocks that holds what they cannot hold is refused", [] {
    WeightStore store;
    store.declare("w", DType::kQ8, Layout::kPanels, 2, 40);
    std::vector<float> values(80, 1);
    values[77] = NAN;
    CHECK(error_of([&] { store.load_values("w", values.data(), 80); }).kind == ErrorKind::kUnsupported);
    CHECK(error_of([&] { store.declare("t", DType::kI32, Layout::kTiles, 2, 40); }).kind ==
          ErrorKind::kDType);
  });
}

}  // namespace kvasir::test
