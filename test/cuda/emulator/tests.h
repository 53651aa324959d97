#pragma once

// The tests of each file, run by main.cpp.
namespace kvasir::cuda::test {

void test_numbers();
void test_warps();
void test_blocks();
void test_matrices();
void test_copies();
void test_hopper_copies();
void test_wgmma();
void test_runtime();
void test_findings();

// Runs the kernel of bugs.cpp that is named so. 0: its numbers are right, 3: they are wrong, 4: the emulator
// found something, 2: there is none of that name.
int run_bug(const char* name);

}  // namespace kvasir::cuda::test
