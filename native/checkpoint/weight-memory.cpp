#include "checkpoint/weight-memory.h"

#include "platform/platform.h"

namespace kvasir {
namespace {

class HostMemory : public WeightMemory {
 public:
  std::string name() const override { return "memory"; }
  std::byte* allocate(size_t bytes) override {
    return static_cast<std::byte*>(platform::reserve_pages(bytes));
  }
  void release(std::byte* data, size_t bytes) noexcept override { platform::release_pages(data, bytes); }
  uint64_t available() const override { return platform::available_memory(); }
  bool host_addressable() const override { return true; }
  std::unique_ptr<Staging> make_staging(size_t) override { return nullptr; }
};

}  // namespace

std::shared_ptr<WeightMemory> host_memory() {
  static const std::shared_ptr<WeightMemory> memory = std::make_shared<HostMemory>();
  return memory;
}

}  // namespace kvasir
