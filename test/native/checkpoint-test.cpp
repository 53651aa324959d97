// Tests of native/platform and native/checkpoint, in one binary. From the repository's root:
//   g++ -std=c++20 -O1 -g -fsanitize=address,undefined -Inative -o checkpoint-test -ldl -lpthread
//       test/native/{checkpoint,platform,safetensors,safetensors-ranges,convert,load,store,device-store}-test.cpp
//       native/platform/*.cpp native/checkpoint/*.cpp

#include "check.h"

namespace kvasir::test {
void platform_tests();
void safetensors_tests();
void safetensors_ranges_tests();
void convert_tests();
void load_tests();
void store_tests();
void blocks_tests();
void device_store_tests();
}  // namespace kvasir::test

int main(int count, char** arguments) {
  using namespace kvasir::test;
  take_share(count, arguments);
  platform_tests();
  safetensors_tests();
  safetensors_ranges_tests();
  convert_tests();
  load_tests();
  store_tests();
  blocks_tests();
  device_store_tests();
  return finish();
}
