#pragma once

// What the tests of the weight store share: files of random tensors, threads, and the layouts in plain code.

#include <atomic>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "checkpoint/convert.h"
#include "checkpoint/store.h"
#include "files.h"
#include "numbers.h"

namespace kvasir::test {

inline ParallelFor threads(int count) {
  return [count](int64_t items, const std::function<void(int64_t, int64_t)>& body) {
    std::atomic<int64_t> next{0};
    auto run = [&] {
      for (int64_t i = next++; i < items; i = next++) body(i, i + 1);
    };
    std::vector<std::thread> others;
    for (int i = 1; i < count; ++i) others.emplace_back(run);
    run();
    for (std::thread& other : others) other.join();
  };
}

// Numbers in a file, and what they are.
struct Source {
  std::vector<double> values;
  TensorEntry entry;
};

class Bench {
 public:
  // Adds a tensor of random numbers to the file that is being made up.
  Source add(DType dtype, std::vector<int64_t> shape) {
    int64_t count = 1;
    for (int64_t size : shape) count *= size;
    bytes_.resize(bytes_.size() + 1 + random_() % 7);  // so that alignment is any
    Source source;
    source.entry = {"t" + std::to_string(bytes_.size()), kFileNames[static_cast<int>(dtype)], shape,
                    bytes_.size(), static_cast<uint64_t>(count * size_of(dtype))};
    std::normal_distribution<float> normal;
    for (int64_t i = 0; i < count; ++i) {
      float x = normal(random_);
      auto half = Element<DType::kF16>::from_f32(x), brain = Element<DType::kBF16>::from_f32(x);
      if (dtype == DType::kF32) append(x);
      if (dtype == DType::kF16) append(half);
      if (dtype == DType::kBF16) append(brain);
      source.values.push_back(
          decoded(reinterpret_cast<std::byte*>(bytes_.data()) + bytes_.size() - size_of(dtype), dtype));
    }
    return source;
  }
  const platform::File* file() {
    opened_.push_back(
        std::make_unique<platform::File>(write_file(folder_ / std::to_string(opened_.size()), bytes_)));
    return opened_.back().get();
  }

 private:
  template <typename T>
  void append(T value) {
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof value);
  }

  Folder folder_;
  std::string bytes_;
  std::mt19937 random_{7};
  std::vector<std::unique_ptr<platform::File>> opened_;
};

// A stored number by the layouts' definition, written out once more.
inline double stored_number(const StoredTensor& t, int64_t row, int64_t col) {
  int64_t index = row * t.cols + col;
  if (t.layout == Layout::kPanels && t.dtype == DType::kBF16)
    index = ((row / 32 * ((t.cols + 1) / 2) + col / 2) * 32 + row % 32) * 2 + col % 2;
  if (t.layout == Layout::kPanels && t.dtype != DType::kBF16)
    index = (row / 32 * t.cols + col) * 32 + row % 32;
  return decoded(t.data + index * size_of(t.dtype), t.dtype);
}

// Compares with `expected` (rows, cols), NAN for what must be zero padding; the panels' own padding must be
// zero too.
inline bool holds(const WeightStore& store, const std::string& name, const std::vector<double>& expected) {
  const StoredTensor& t = store.get(name);
  std::vector<float> copy(static_cast<size_t>(t.rows * t.cols));
  store.copy_out(name, copy.data());
  int64_t numbers = 0, stored = 0;  // that are not zero, in the matrix and in all of the memory
  for (int64_t row = 0; row < t.rows; ++row) {
    for (int64_t col = 0; col < t.cols; ++col) {
      double want = expected[static_cast<size_t>(row * t.cols + col)];
      want = std::isnan(want) ? 0 : rounded(want, t.dtype);
      double have = stored_number(t, row, col);
      if (have != want || copy[static_cast<size_t>(row * t.cols + col)] != static_cast<float>(want))
        return false;
      numbers += have != 0;
    }
  }
  for (size_t i = 0; i < t.bytes; i += static_cast<size_t>(size_of(t.dtype)))
    stored += decoded(t.data + i, t.dtype) != 0;
  return numbers == stored;
}

inline double at(const Source& source, bool transposed, int64_t row, int64_t col) {
  const auto& shape = source.entry.shape;
  int64_t width = shape.size() < 2 ? 1 : shape.back();
  return source.values[static_cast<size_t>(transposed ? col * width + row : row * width + col)];
}

}  // namespace kvasir::test
