#include "compare.h"

#include <cmath>
#include <cstdio>
#include <cstring>

namespace kvasir::conformance {

namespace {

uint32_t bits_at(const Part& part, int64_t i) {
  return part.numbers.bits[static_cast<size_t>(part.first + i)];
}

float float_at(const Part& part, int64_t i) {
  float x;
  const uint32_t bits = bits_at(part, i);
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

std::string text_at(const Part& part, int64_t i) {
  if (part.numbers.dtype == DType::kI32) return std::to_string(static_cast<int32_t>(bits_at(part, i)));
  char text[32];
  std::snprintf(text, sizeof text, "%.9g", static_cast<double>(float_at(part, i)));
  return text;
}

bool same_at(const Part& a, const Part& b, int64_t i, bool zeros_alike) {
  if (bits_at(a, i) == bits_at(b, i)) return true;
  if (a.numbers.dtype != DType::kF32) return false;
  const float x = float_at(a, i), y = float_at(b, i);
  return (std::isnan(x) && std::isnan(y)) || (zeros_alike && x == 0 && y == 0);
}

std::string differ_at(const Part& found, const Part& expected, int64_t i) {
  return "element " + std::to_string(i) + " of " + std::to_string(found.count) + " is " + text_at(found, i) +
         ", expected " + text_at(expected, i);
}

}  // namespace

std::string difference(const Part& found, const Part& expected, bool zeros_alike) {
  int64_t differing = 0, first = 0;
  for (int64_t i = 0; i < found.count; i++)
    if (!same_at(found, expected, i, zeros_alike) && differing++ == 0) first = i;
  if (differing == 0) return "";
  return differ_at(found, expected, first) + " (" + std::to_string(differing) + " differ)";
}

Distance distance(const Part& found, const Part& expected) {
  Distance d;
  double error = 0, power = 0;
  for (int64_t i = 0; i < found.count; i++) {
    const double x = float_at(found, i), y = float_at(expected, i);
    if (!std::isfinite(x) || !std::isfinite(y)) {
      if (!same_at(found, expected, i, true) && d.difference.empty())
        d.difference = differ_at(found, expected, i);
      continue;
    }
    error += (x - y) * (x - y);
    power += y * y;
    if (std::fabs(x - y) > d.worst) {
      d.worst = std::fabs(x - y);
      d.worst_at = i;
    }
  }
  d.nmse = error == 0 ? 0 : error / power;
  return d;
}

}  // namespace kvasir::conformance
