#include "tests.h"

#include <cstring>

#include "test/native/check.h"

// Without arguments: all tests. `bug NAME`: one kernel with a planted bug, see scripts/test-emulator.mjs.
int main(int count, char** arguments) {
  using namespace kvasir::cuda::test;
  if (count == 3 && std::strcmp(arguments[1], "bug") == 0) return run_bug(arguments[2]);
  test_numbers();
  test_warps();
  test_blocks();
  test_matrices();
  test_copies();
  test_hopper_copies();
  test_wgmma();
  test_runtime();
  test_findings();
  return kvasir::test::finish();
}
