#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "types/error.h"

namespace kvasir {

// What is wrong with a checkpoint, as it is told to the user; empty parts are left out.
struct Problem {
  std::string file, tensor, field, expected, found;
};

// Text from a file made fit for a message: quoted, at most about 80 bytes, control characters escaped, and no
// character cut in two.
std::string quoted(std::string_view text);

// "(2, 3)"
std::string shape_text(const std::vector<int64_t>& shape);

// Throws Error(kind) with the message `FILE: tensor "TENSOR": FIELD must be EXPECTED, got FOUND`.
[[noreturn]] void throw_problem(ErrorKind kind, Problem problem);

}  // namespace kvasir
