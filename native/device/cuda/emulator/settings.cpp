#include "device/cuda/emulator/settings.h"

#include <cstdlib>
#include <string>
#include <thread>

#include "device/cuda/emulator/sanitizers.h"
#include "types/error.h"

namespace kvasir::cuda::emulator {

namespace {

int64_t number_of(const char* name, int64_t otherwise) {
  const char* text = std::getenv(name);
  if (text == nullptr || *text == '\0') return otherwise;
  char* end;
  const int64_t value = std::strtoll(text, &end, 10);
  if (*end != '\0' || value < 0) {
    throw Error(ErrorKind::kInvalidValue, std::string(name) + " must be a number, is " + text);
  }
  return value;
}

bool lazy_copies() {
  const char* text = std::getenv("KVASIR_EMULATED_COPIES");
  const std::string mode = text == nullptr ? "lazy" : text;
  if (mode == "lazy" || mode == "eager") return mode == "lazy";
  throw Error(ErrorKind::kInvalidValue, "KVASIR_EMULATED_COPIES must be lazy or eager, is " + mode);
}

int default_workers() {
  if (kThreadSanitizer) return 2;  // less would hide races between blocks
  const int cores = static_cast<int>(std::thread::hardware_concurrency());
  return cores < 1 ? 1 : cores > 16 ? 16 : cores;
}

}  // namespace

Settings& settings() {
  static Settings settings{
      .workers = static_cast<int>(number_of("KVASIR_EMULATED_WORKERS", default_workers())),
      .lazy_copies = lazy_copies(),
      .seed = static_cast<uint64_t>(number_of("KVASIR_EMULATED_SEED", 1)),
      .multiprocessors = static_cast<int>(number_of("KVASIR_EMULATED_MULTIPROCESSORS", 4)),
      .early_launches = static_cast<int>(number_of("KVASIR_EMULATED_EARLY", 2)),
      .memory_bytes = number_of("KVASIR_EMULATED_MEMORY", int64_t{1} << 30),
  };
  return settings;
}

}  // namespace kvasir::cuda::emulator
