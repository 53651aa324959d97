#pragma once

#include <string>

#include "vectors.h"

namespace kvasir::conformance {

// `count` numbers from `first` on.
struct Part {
  const Numbers& numbers;
  int64_t first, count;
};

// Where two parts first differ, for a message; empty where all bits are the same. All NaN count as one, and with
// `zeros_alike` both zeros.
std::string difference(const Part& found, const Part& expected, bool zeros_alike);

// How far `found` is from `expected`. Infinities and NaN must be in the same places.
struct Distance {
  double nmse = 0;   // mean square error over the mean square of what was expected
  double worst = 0;  // the largest error
  int64_t worst_at = 0;
  std::string difference;  // of what is not finite; empty where there is none
};
Distance distance(const Part& found, const Part& expected);

}  // namespace kvasir::conformance
