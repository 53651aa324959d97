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
#include "device-memory.h"
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

// A layout in the host's memory or a device's.
struct Home {
  const char* name;
  Layout layout;
  bool device = false;

  std::shared_ptr<WeightMemory> memory() const {
    return device ? std::make_shared<DeviceMemory>() : host_memory();
  }
  int64_t group() const { return layout == Layout::kTiles ? 8 : 32; }  // rows, where matrices are interleaved
};
constexpr Home kHomes[] = {{"rows", Layout::kRows},
                           {"panels", Layout::kPanels},
                           {"tiles", Layout::kTiles},
                           {"rows on a device", Layout::kRows, true},
                           {"tiles on a device", Layout::kTiles, true}};

// What a tensor's memory holds.
inline const std::byte* bytes_of(const StoredTensor& t) {
  auto device = dynamic_cast<const DeviceMemory*>(t.memory.get());
  return device ? device->behind(t.data) : t.data;
}

// The place of a number by the layouts' definition, written out once more.
inline int64_t index_of(const StoredTensor& t, int64_t row, int64_t col) {
  if (t.layout == Layout::kRows) return row * t.cols + col;
  if (t.layout == Layout::kTiles) {
    const int64_t width = t.dtype == DType::kF32 ? 32 : 64, piece = width / 8;
    const int64_t tile = row / 64 * ((t.cols + width - 1) / width) + col / width;
    const int64_t place = (col % width / piece) ^ (row % 8);
    return (tile * 64 + row % 64) * width + place * piece + col % piece;
  }
  if (t.dtype == DType::kBF16)
    return ((row / 32 * ((t.cols + 1) / 2) + col / 2) * 32 + row % 32) * 2 + col % 2;
  return (row / 32 * t.cols + col) * 32 + row % 32;
}

// Compares with `expected` (rows, cols), NAN for what must be zero padding; the panels' and tiles' own padding
// must be zero too. On a device, nothing may be in flight, and nothing may have been done wrong.
inline bool holds(const WeightStore& store, const std::string& name, const std::vector<double>& expected) {
  const StoredTensor& t = store.get(name);
  if (auto device = dynamic_cast<const DeviceMemory*>(t.memory.get())) {
    if (device->in_flight() > 0 || !device->wrong().empty()) {
      std::printf("    %s\n", device->wrong().c_str());
      return false;
    }
  }
  std::vector<float> copy(static_cast<size_t>(t.rows * t.cols));
  store.copy_out(name, copy.data());
  const std::byte* bytes = bytes_of(t);
  const int64_t element = size_of(t.dtype);
  int64_t numbers = 0, stored = 0;  // that are not zero, in the matrix and in all of the memory
  for (int64_t row = 0; row < t.rows; ++row) {
    for (int64_t col = 0; col < t.cols; ++col) {
      double want = expected[static_cast<size_t>(row * t.cols + col)];
      want = std::isnan(want) ? 0 : rounded(want, t.dtype);
      double have = decoded(bytes + index_of(t, row, col) * element, t.dtype);
      if (have != want || copy[static_cast<size_t>(row * t.cols + col)] != static_cast<float>(want))
        return false;
      numbers += have != 0;
    }
  }
  for (size_t i = 0; i < t.bytes; i += static_cast<size_t>(element))
    stored += decoded(bytes + i, t.dtype) != 0;
  return numbers == stored;
}

inline double at(const Source& source, bool transposed, int64_t row, int64_t col) {
  const auto& shape = source.entry.shape;
  int64_t width = shape.size() < 2 ? 1 : shape.back();
  return source.values[static_cast<size_t>(transposed ? col * width + row : row * width + col)];
}

}  // namespace kvasir::test
