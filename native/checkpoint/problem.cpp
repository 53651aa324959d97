#include "checkpoint/problem.h"

#include <cstdio>
#include <utility>

namespace kvasir {

std::string quoted(std::string_view text) {
  constexpr size_t kShown = 80;
  size_t length = text.size();
  if (length > kShown) {
    length = kShown;
    while (length > 0 && (text[length] & 0xC0) == 0x80) --length;  // back to where a UTF-8 character begins
  }
  std::string out = "\"";
  for (char c : text.substr(0, length)) {
    auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte != 0x7F) {
      out += c;
      continue;
    }
    char escape[8];
    std::snprintf(escape, sizeof escape, "\\u%04x", byte);
    out += escape;
  }
  return out + (length < text.size() ? "...\"" : "\"");
}

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string text = "(";
  for (int64_t size : shape) {
    if (text.size() > 1) text += ", ";
    text += std::to_string(size);
  }
  text += ')';
  return text;
}

void throw_problem(ErrorKind kind, Problem problem) {
  std::string message = problem.file + ": ";
  if (!problem.tensor.empty()) message += "tensor " + quoted(problem.tensor) + ": ";
  message += problem.field + " must be " + problem.expected + ", got " + problem.found;
  throw Error(kind, message)
      .in_file(std::move(problem.file))
      .in_tensor(std::move(problem.tensor))
      .in_field(std::move(problem.field))
      .mismatch(std::move(problem.expected), std::move(problem.found));
}

}  // namespace kvasir
