#include <bit>
#include <cmath>

#include "device.h"
#include "tests.h"

namespace kvasir::cuda::test {

namespace {

// The value of 16 bits from the formats' definition.
double value_of(uint16_t bits, int exponent_bits) {
  const int mantissa_bits = 15 - exponent_bits, bias = (1 << (exponent_bits - 1)) - 1;
  const int exponent = bits >> mantissa_bits & ((1 << exponent_bits) - 1),
            mantissa = bits & ((1 << mantissa_bits) - 1);
  const double sign = bits & 0x8000 ? -1 : 1;
  if (exponent == (1 << exponent_bits) - 1) return mantissa != 0 ? NAN : sign * INFINITY;
  if (exponent == 0) return sign * std::ldexp(mantissa, 1 - bias - mantissa_bits);
  return sign * std::ldexp((1 << mantissa_bits) + mantissa, exponent - bias - mantissa_bits);
}

template <class T>
void check_widening(int exponent_bits) {
  int wrong = 0;
  for (int bits = 0; bits < 65536; ++bits) {
    const double want = value_of(static_cast<uint16_t>(bits), exponent_bits);
    const float have = to_float(T{static_cast<uint16_t>(bits)});
    wrong += std::isnan(want) ? !std::isnan(have) : have != want || std::signbit(have) != std::signbit(want);
  }
  CHECK(wrong == 0);
}

// Every number, the middle between it and the next, and the floats beside that middle.
template <class T>
void check_narrowing(uint16_t infinity) {
  int wrong = 0;
  for (int bits = 0; bits < infinity; ++bits) {
    const uint16_t low = static_cast<uint16_t>(bits), high = static_cast<uint16_t>(bits + 1);
    const float below = to_float(T{low});
    // What would come after the largest finite number decides where infinity begins.
    const double above =
        high == infinity ? 2.0 * below - to_float(T{static_cast<uint16_t>(bits - 1)}) : to_float(T{high});
    const float middle = static_cast<float>((below + above) / 2);
    const uint16_t even = low & 1 ? high : low;
    wrong += from_float<T>(below).bits != low;
    wrong += from_float<T>(middle).bits != even;
    wrong += from_float<T>(-middle).bits != (even | 0x8000);
    wrong += from_float<T>(std::nextafter(middle, 0.0f)).bits != low;
    wrong += from_float<T>(std::nextafter(middle, INFINITY)).bits != high;
  }
  CHECK(wrong == 0);
  CHECK(from_float<T>(INFINITY).bits == infinity);
  CHECK(from_float<T>(-INFINITY).bits == (infinity | 0x8000));
  CHECK(std::isnan(to_float(from_float<T>(NAN))));
  CHECK(from_float<T>(3e38f).bits == (std::is_same_v<T, f16> ? infinity : 0x7f62));
}

template <class T>
void check_pairs() {
  const uint32_t pair = pack2<T>(1.5f, -0.25f);
  CHECK(pair == (from_float<T>(1.5f).bits | static_cast<uint32_t>(from_float<T>(-0.25f).bits) << 16));
  CHECK(unpack2<T>(pair).x == 1.5f && unpack2<T>(pair).y == -0.25f);
}

}  // namespace

void test_numbers() {
  test("bf16 widens", [] { check_widening<bf16>(8); });
  test("f16 widens", [] { check_widening<f16>(5); });
  test("bf16 rounds to nearest even", [] { check_narrowing<bf16>(0x7f80); });
  test("f16 rounds to nearest even", [] { check_narrowing<f16>(0x7c00); });
  test("pairs of bf16 and f16", [] {
    check_pairs<bf16>();
    check_pairs<f16>();
  });
  test("types by dtype", [] {
    const auto size = [](auto x) { return dtype_of<decltype(x)>; };
    CHECK(with_type(DType::kF32, size) == DType::kF32);
    CHECK(with_type(DType::kBF16, size) == DType::kBF16);
    CHECK(with_half_type(DType::kF16, size) == DType::kF16);
    CHECK(error_of([&] { with_half_type(DType::kF32, size); }).kind == ErrorKind::kInternal);
  });
}

}  // namespace kvasir::cuda::test
