#include "backends/cuda-weight-memory.h"

#include <string>

namespace kvasir::cuda {

namespace {

class PinnedStaging : public Staging {
 public:
  PinnedStaging(std::shared_ptr<Device> device, int64_t bytes)
      : device_(std::move(device)), bytes_(bytes), data_(device_->allocate_pinned(bytes)) {
    if (device_->module().create_stream(device_->index(), &stream_) == 0) return;
    device_->release_pinned(data_, bytes_);
    check(device_->module(), 1);
  }
  ~PinnedStaging() override {
    device_->module().destroy_stream(stream_);
    device_->release_pinned(data_, bytes_);
  }

  std::byte* data() const override { return data_; }

  void write(std::byte* to, size_t to_pitch, const std::byte* from, size_t width, size_t height) override {
    check(device_->module(),
          device_->module().copy_pieces_to_device(stream_, to, static_cast<int64_t>(to_pitch), from,
                                                  static_cast<int64_t>(width), static_cast<int64_t>(width),
                                                  static_cast<int64_t>(height)));
  }
  void read(std::byte* to, const std::byte* from, size_t bytes) override {
    check(device_->module(), device_->module().copy_to_host(stream_, to, from, static_cast<int64_t>(bytes)));
  }
  void wait() override { check(device_->module(), device_->module().synchronize(stream_)); }

 private:
  std::shared_ptr<Device> device_;
  int64_t bytes_;
  std::byte* data_;
  Stream* stream_ = nullptr;
};

class CudaWeightMemory : public WeightMemory {
 public:
  explicit CudaWeightMemory(std::shared_ptr<Device> device) : device_(std::move(device)) {}

  std::string name() const override { return std::string("memory of ") + device_->info().name; }
  std::byte* allocate(size_t bytes) override {
    std::byte* memory = device_->allocate(static_cast<int64_t>(bytes));
    device_->synchronize();  // staging buffers have streams of their own
    return memory;
  }
  void release(std::byte* data, size_t bytes) noexcept override {
    device_->release(data, static_cast<int64_t>(bytes));
  }
  uint64_t available() const override { return static_cast<uint64_t>(device_->available_bytes()); }
  bool host_addressable() const override { return false; }
  std::unique_ptr<Staging> make_staging(size_t bytes) override {
    return std::make_unique<PinnedStaging>(device_, static_cast<int64_t>(bytes));
  }

 private:
  std::shared_ptr<Device> device_;
};

}  // namespace

std::shared_ptr<WeightMemory> weight_memory(std::shared_ptr<Device> device) {
  return std::make_shared<CudaWeightMemory>(std::move(device));
}

}  // namespace kvasir::cuda
