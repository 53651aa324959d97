// libFuzzer's target for safetensors: any bytes are a file that opens and loads, or one of the library's own errors.

#include "checkpoint/safetensors.h"
#include "load-all.h"
#include "memory-file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace kvasir;
  fuzz::hold(data, size);
  try {
    const auto file = open_safetensors("input.safetensors");
    fuzz::load_all(*file, size);
  } catch (const Error&) {
  }
  return 0;
}
