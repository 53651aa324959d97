// libFuzzer's target for gguf: any bytes are a file that opens and loads, or one of the library's own errors.

#include "checkpoint/gguf.h"
#include "load-all.h"
#include "memory-file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace kvasir;
  fuzz::hold(data, size);
  try {
    const auto file = open_gguf("input.gguf");
    fuzz::load_all(*file, size);
    for (const auto& [key, value] : file->metadata) {
      if (!value.is_array || value.count > 4096) continue;
      try {
        if (value.type == GgufValueType::kString) {
          file->strings(key, value);
        } else {
          file->numbers(key, value);
        }
      } catch (const Error&) {
      }
    }
  } catch (const Error&) {
  }
  return 0;
}
