#include "backends/cuda-device.h"

#include <algorithm>
#include <cstring>

#include "platform/platform.h"

namespace kvasir::cuda {

namespace {

constexpr int64_t kSmallStep = 512, kLargeStep = int64_t{2} << 20, kLarge = int64_t{1} << 20;
constexpr int64_t kLandingBytes = int64_t{4} << 20;

// Sizes are rounded so that what one program gave back fits the next: small ones to half a kilobyte, large ones to
// the pages that the driver hands out.
int64_t rounded_size(int64_t bytes) {
  const int64_t step = bytes < kLarge ? kSmallStep : kLargeStep;
  return (bytes + step - 1) / step * step;
}

std::string megabytes(int64_t bytes) { return std::to_string((bytes + 999'999) / 1'000'000) + " MB"; }

Availability open_module(const std::string& given) {
  const bool default_place = given.empty();
  const std::string path = default_place ? platform::own_folder() + "/kvasir-cuda.so" : given;
  const bool emulated = path.find("emulated") != std::string::npos;
  if (!emulated && platform::open_library("libcuda.so.1") == nullptr)
    return {nullptr, 0, "there is no NVIDIA driver (libcuda.so.1 was not found)"};
  std::string problem;
  void* library = platform::open_library(path, &problem);
  if (library == nullptr) return {nullptr, 0, "the CUDA library could not be opened (" + problem + ")"};
  using Find = const Module* (*)(uint32_t);
  const Find find = reinterpret_cast<Find>(platform::library_symbol(library, "kvasir_cuda_module"));
  const Module* module = find != nullptr ? find(kModuleVersion) : nullptr;
  if (module == nullptr || module->bytes != sizeof(Module))
    return {nullptr, 0, "the CUDA library " + path + " belongs to another version of Kvasir"};
  Availability found{module, 0, ""};
  try {
    check(*module, module->device_count(&found.devices));
    if (found.devices == 0) found.reason = "the NVIDIA driver shows no device";
  } catch (const Error& error) {
    found.reason = std::string("the NVIDIA driver cannot be used (") + error.what() + ")";
  }
  return found;
}

}  // namespace

Availability find_module(const std::string& path) {
  static std::mutex mutex;
  static std::map<std::string, Availability>& known = *new std::map<std::string, Availability>;
  std::lock_guard lock(mutex);
  auto found = known.find(path);
  if (found == known.end()) found = known.emplace(path, open_module(path)).first;
  return found->second;
}

void check(const Module& module, int status) {
  if (status == 0) return;
  int kind = 0;
  const char* message = module.last_error(&kind);
  throw Error(static_cast<ErrorKind>(kind), std::string(module.name) + ": " + message);
}

Device::Device(const Module& module, int index) : module_(module), index_(index) {
  constexpr int64_t kCounterBytes = kNumCounters * static_cast<int64_t>(sizeof(uint32_t));
  check(module_, module_.device_info(index_, &info_));
  if (info_.architecture < 80)
    throw Error(ErrorKind::kDevice, std::string("cuda: ") + info_.name + " has compute capability " +
                                        std::to_string(info_.architecture / 10) + "." +
                                        std::to_string(info_.architecture % 10) + ", 8.0 is the least");
  try {
    check(module_, module_.create_stream(index_, &stream_));
    check(module_, module_.allocate_pinned(kLandingBytes, &landing_));
    check(module_, module_.allocate(index_, kCounterBytes, &counters_));
    check(module_, module_.fill(stream_, counters_, 0, kCounterBytes));
    synchronize();
  } catch (...) {
    close();
    throw;
  }
}

// Errors of a device that failed are left: there is nobody to tell, and nothing to be done.
void Device::close() noexcept {
  if (stream_ != nullptr) (void)module_.synchronize(stream_);
  empty_cache();
  for (auto& [bytes, memory] : cached_pinned_) (void)module_.release_pinned(memory);
  if (counters_ != nullptr) (void)module_.release(index_, counters_);
  if (landing_ != nullptr) (void)module_.release_pinned(landing_);
  if (stream_ != nullptr) module_.destroy_stream(stream_);
}

void Device::empty_cache() {
  for (auto& [bytes, memory] : cached_) (void)module_.release(index_, memory);
  cached_.clear();
  cached_bytes_ = 0;
}

std::byte* Device::take(int64_t rounded) {
  auto found = cached_.find(rounded);
  if (found != cached_.end()) {
    std::byte* memory = found->second;
    cached_bytes_ -= rounded;
    cached_.erase(found);
    return memory;
  }
  std::byte* memory = nullptr;
  if (module_.allocate(index_, rounded, &memory) == 0) return memory;
  (void)module_.synchronize(stream_);  // what is cached may still be in use
  empty_cache();
  if (module_.allocate(index_, rounded, &memory) == 0) return memory;
  int kind = 0;
  const std::string message = module_.last_error(&kind);
  DeviceInfo now{};
  const bool known = module_.device_info(index_, &now) == 0;
  throw Error(ErrorKind::kOutOfMemory,
              std::string(module_.name) + ": " + megabytes(rounded) + " of device memory were asked for, " +
                  (known ? megabytes(now.free_bytes) + " of " + megabytes(now.memory_bytes) +
                               " are free on " + now.name
                         : "none are left") +
                  " (" + message + ")");
}

std::byte* Device::allocate(int64_t bytes) {
  if (bytes == 0) return nullptr;
  std::lock_guard lock(mutex_);
  std::byte* memory = take(rounded_size(bytes));
  check(module_, module_.fill(stream_, memory, 0, bytes));
  return memory;
}

void Device::release(std::byte* memory, int64_t bytes) {
  if (memory == nullptr) return;
  std::lock_guard lock(mutex_);
  cached_.emplace(rounded_size(bytes), memory);
  cached_bytes_ += rounded_size(bytes);
}

int64_t Device::available_bytes() const {
  std::lock_guard lock(mutex_);
  DeviceInfo now{};
  check(module_, module_.device_info(index_, &now));
  return now.free_bytes + cached_bytes_;
}

std::byte* Device::allocate_pinned(int64_t bytes) {
  const int64_t rounded = rounded_size(bytes);
  std::lock_guard lock(mutex_);
  auto found = cached_pinned_.find(rounded);
  if (found != cached_pinned_.end()) {
    std::byte* memory = found->second;
    cached_pinned_.erase(found);
    return memory;
  }
  std::byte* memory = nullptr;
  check(module_, module_.allocate_pinned(rounded, &memory));
  return memory;
}

void Device::release_pinned(std::byte* memory, int64_t bytes) {
  if (memory == nullptr) return;
  std::lock_guard lock(mutex_);
  cached_pinned_.emplace(rounded_size(bytes), memory);
}

void Device::synchronize() { check(module_, module_.synchronize(stream_)); }

void Device::read(void* to, const std::byte* from, int64_t bytes) {
  std::lock_guard lock(landing_mutex_);
  for (int64_t at = 0; at < bytes; at += kLandingBytes) {
    const int64_t count = std::min(kLandingBytes, bytes - at);
    check(module_, module_.copy_to_host(stream_, landing_, from + at, count));
    synchronize();
    std::memcpy(static_cast<std::byte*>(to) + at, landing_, static_cast<size_t>(count));
  }
}

void Device::write(std::byte* to, const void* from, int64_t bytes) {
  std::lock_guard lock(landing_mutex_);
  for (int64_t at = 0; at < bytes; at += kLandingBytes) {
    const int64_t count = std::min(kLandingBytes, bytes - at);
    std::memcpy(landing_, static_cast<const std::byte*>(from) + at, static_cast<size_t>(count));
    check(module_, module_.copy_to_device(stream_, to + at, landing_, count));
    synchronize();
  }
}

void Device::copy(std::byte* to, const std::byte* from, int64_t bytes) {
  check(module_, module_.copy_on_device(stream_, to, from, bytes));
}

}  // namespace kvasir::cuda
