#pragma once

// The native tests' vocabulary: test(name, body) runs a body and prints `ok NAME` or `FAILED NAME`; CHECK
// notes a condition that does not hold and goes on; finish() is main's result. Processes share the tests by
// `PART PARTS` among a program's arguments.

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <functional>
#include <string>

#include "types/error.h"

namespace kvasir::test {

struct Results {
  int passed = 0, failed = 0;
  bool current_failed = false;
};

inline Results& results() {
  static Results results;
  return results;
}

struct Share {
  int part = 0, parts = 1, seen = 0;
  bool is_next() { return seen++ % parts == part; }
};

inline Share& share() {
  static Share share;
  return share;
}

inline void take_share(int count, char** arguments) {
  if (count == 3) share() = {std::atoi(arguments[1]), std::atoi(arguments[2])};
}

inline void fail(const std::string& what, const char* file, int line) {
  results().current_failed = true;
  std::printf("  %s:%d: %s\n", file, line, what.c_str());
}

inline bool check(bool holds, const char* condition, const char* file, int line) {
  if (!holds) fail(condition, file, line);
  return holds;
}

#define CHECK(condition) ::kvasir::test::check(static_cast<bool>(condition), #condition, __FILE__, __LINE__)

inline void test(const std::string& name, const std::function<void()>& body) {
  if (!share().is_next()) return;
  Results& r = results();
  r.current_failed = false;
  try {
    body();
  } catch (const std::exception& error) {
    fail(std::string("threw ") + error.what(), name.c_str(), 0);
  }
  ++(r.current_failed ? r.failed : r.passed);
  std::printf("%s %s\n", r.current_failed ? "FAILED" : "ok", name.c_str());
  std::fflush(stdout);
}

inline int finish() {
  std::printf("%d passed, %d failed\n", results().passed, results().failed);
  return results().failed == 0 ? 0 : 1;
}

// The Error that `action` throws; an Error of kind kInternal when it throws none.
inline Error error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error;
  }
  return Error(ErrorKind::kInternal, "nothing was thrown");
}

}  // namespace kvasir::test
