#pragma once

// What the library does with a file once its header is believed: small tensors are loaded in every way that fits them.

#include <algorithm>
#include <cstring>
#include <new>

#include "checkpoint/checkpoint-file.h"
#include "checkpoint/store.h"
#include "types/error.h"

namespace kvasir::fuzz {

// The heap, where a byte too far is found.
class HeapMemory : public WeightMemory {
 public:
  std::string name() const override { return "the heap"; }
  std::byte* allocate(size_t bytes) override {
    void* data = ::operator new(bytes, kAlignment);
    return static_cast<std::byte*>(std::memset(data, 0, bytes));
  }
  void release(std::byte* data, size_t) noexcept override { ::operator delete(data, kAlignment); }
  uint64_t available() const override { return uint64_t{1} << 30; }
  bool host_addressable() const override { return true; }
  std::unique_ptr<Staging> make_staging(size_t) override { return nullptr; }

 private:
  static constexpr std::align_val_t kAlignment{64};
};

inline void load(const CheckpointFile& file, const TensorEntry& tensor, DType dtype, Layout layout,
                 bool transposed) {
  const std::vector<int64_t>& shape = tensor.shape;
  int64_t rows = shape.empty() ? 1 : shape[0], cols = 1;
  for (size_t i = 1; i < shape.size(); ++i) (i + 1 < shape.size() ? rows : cols) *= shape[i];
  if (transposed) std::swap(rows, cols);
  if (rows < 1 || cols < 1) return;
  const ParallelFor serially = [](int64_t items, const std::function<void(int64_t, int64_t)>& body) {
    body(0, items);
  };
  WeightStore store(std::make_shared<HeapMemory>());
  store.declare("w", dtype, layout, rows, cols);
  LoadPart part;
  part.file = &file.file;
  part.source = &tensor;
  part.transposed = transposed;
  if (!store.load("w", part, serially)) __builtin_trap();
  std::vector<float> numbers(static_cast<size_t>(rows * cols));
  store.copy_out("w", numbers.data());
}

// Loads the first tensors, each as one of the stored types, which `choice` picks.
inline void load_all(const CheckpointFile& file, size_t choice) {
  constexpr uint64_t kMostBytes = 1024;
  constexpr DType kStored[] = {DType::kF32, DType::kQ8, DType::kF16, DType::kQ4, DType::kBF16};
  const size_t count = std::min<size_t>(file.tensors.size(), 1 + choice % 2);
  for (size_t i = 0; i < count; ++i) {
    const TensorEntry& tensor = file.tensors[i];
    // Types of less than two bits are not loaded, so that numbers are at most eight a byte.
    if (tensor.bytes > kMostBytes) continue;
    try {
      const Layout layout = choice % 3 == 0 ? Layout::kRows : Layout::kPanels;
      load(file, tensor, kStored[(choice + i) % 5], layout, choice % 2 == 1);
    } catch (const Error&) {
    }
  }
}

}  // namespace kvasir::fuzz
