#pragma once

#include <memory>
#include <string>
#include <vector>

#include "runtime/backend.h"
#include "vectors.h"

namespace kvasir::conformance {

struct CaseResult {
  std::vector<std::string> failures;  // in words, no more than a few; empty where all is as it must be
  int64_t steps = 0, comparisons = 0;
  // The largest share of what was allowed that an error took, 1 being all of it: how much room the bounds leave.
  double nmse_share = 0, worst_share = 0;
};

// Runs all steps of a case on a device and compares. What is thrown on the way is a failure, too.
CaseResult run_case(const Case& one, const std::shared_ptr<Backend>& backend);

}  // namespace kvasir::conformance
