#include "checkpoint/convert.h"

#include <bit>
#include <random>

#include "check.h"
#include "numbers.h"

namespace kvasir::test {
namespace {

template <DType to>
bool narrows_like_doubles(float x) {
  uint16_t bits;
  bool overflow = convert<DType::kF32, to>(&x, &bits, 1);
  double expected = rounded(x, to);
  return same(decoded(reinterpret_cast<std::byte*>(&bits), to), expected) &&
         overflow == (std::isinf(expected) && std::isfinite(x));
}

}  // namespace

void convert_tests() {
  test("every 16-bit number widens exactly", [] {
    bool exact = true;
    for (uint32_t h = 0; h < 65536; ++h) {
      auto bits = static_cast<uint16_t>(h);
      float half, brain;
      convert<DType::kF16, DType::kF32>(&bits, &half, 1);
      convert<DType::kBF16, DType::kF32>(&bits, &brain, 1);
      auto at = reinterpret_cast<std::byte*>(&bits);
      exact &= same(half, decoded(at, DType::kF16)) && same(brain, decoded(at, DType::kBF16));
    }
    CHECK(exact);
  });

  test("narrowing rounds to nearest even: every border between two numbers and its neighbours, and any bits",
       [] {
         bool right = true;
         auto check = [&](float x) {
           right &= narrows_like_doubles<DType::kF16>(x) && narrows_like_doubles<DType::kBF16>(x);
         };
         for (uint32_t h = 0; h < 65536; ++h) {
           auto bits = static_cast<uint16_t>(h), above = static_cast<uint16_t>(h + 1);
           for (DType dtype : {DType::kF16, DType::kBF16}) {
             double low = decoded(reinterpret_cast<std::byte*>(&bits), dtype);
             double high = decoded(reinterpret_cast<std::byte*>(&above), dtype);
             auto middle =
                 static_cast<float>(std::isfinite(low) && std::isfinite(high) ? (low + high) / 2 : low);
             for (float x : {middle, std::nextafter(middle, INFINITY), std::nextafter(middle, -INFINITY)})
               check(x);
           }
         }
         for (float x : {65504.f, 65519.99f, 65520.f, 65536.f, 3.4e38f, 3.3953e38f, INFINITY, -INFINITY, NAN})
           check(x);
         std::mt19937 random(1);
         for (int i = 0; i < 500'000; ++i) check(std::bit_cast<float>(static_cast<uint32_t>(random())));
         CHECK(right);
       });
}

}  // namespace kvasir::test
