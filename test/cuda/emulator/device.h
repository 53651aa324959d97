#pragma once

#include <cstdint>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "device/cuda/cuda.h"
#include "device/cuda/runtime.h"
#include "test/native/check.h"

#ifdef KVASIR_CUDA_EMULATED
#include "device/cuda/emulator/settings.h"
#endif

// What the tests of device functions need. They compile with nvcc too, and then test a device instead.
namespace kvasir::cuda::test {

using kvasir::test::error_of;
using kvasir::test::test;

// The first device of at least this architecture, or -1.
inline int device_of(int architecture) {
  for (int i = 0; i < device_count(); ++i) {
    if (device_info(i).architecture >= architecture) return i;
  }
  return -1;
}

// A device's memory that tests write and read from the host.
template <class T>
class Buffer {
 public:
  Buffer(Stream& stream, int64_t count)
      : stream_(stream),
        bytes_(count * static_cast<int64_t>(sizeof(T))),
        memory_(allocate(stream.device(), bytes_)) {}
  Buffer(Stream& stream, const std::vector<T>& values) : Buffer(stream, static_cast<int64_t>(values.size())) {
    std::byte* pinned = allocate_pinned(bytes_);
    std::memcpy(pinned, values.data(), static_cast<size_t>(bytes_));
    stream_.copy_to_device(memory_, pinned, bytes_);
    stream_.synchronize();
    release_pinned(pinned);
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() { release(stream_.device(), memory_); }

  T* data() const { return reinterpret_cast<T*>(memory_); }
  std::byte* bytes() const { return memory_; }

  // Waits for the stream.
  std::vector<T> values() const {
    std::byte* pinned = allocate_pinned(bytes_);
    std::vector<T> values(static_cast<size_t>(bytes_) / sizeof(T));
    try {
      stream_.copy_to_host(pinned, memory_, bytes_);
      stream_.synchronize();
    } catch (...) {
      release_pinned(pinned);
      throw;
    }
    std::memcpy(values.data(), pinned, static_cast<size_t>(bytes_));
    release_pinned(pinned);
    return values;
  }

 private:
  Stream& stream_;
  int64_t bytes_;
  std::byte* memory_;
};

// A stream of a device of at least this architecture, and what kernels are launched with.
struct Device {
  explicit Device(int architecture = 80, bool overlap = false)
      : stream(device_of(architecture)), info(device_info(stream.device())), execution{stream,
                                                                                       nullptr,
                                                                                       nullptr,
                                                                                       info.architecture,
                                                                                       info.multiprocessors,
                                                                                       info.shared_bytes,
                                                                                       overlap} {}

  Stream stream;
  DeviceInfo info;
  Execution execution;
};

// Runs a test in every way in which the emulator may order threads and copies.
inline void test_in_all_orders(const std::string& name, const std::function<void()>& body) {
#ifdef KVASIR_CUDA_EMULATED
  emulator::Settings& settings = emulator::settings();
  const emulator::Settings before = settings;
  for (const bool lazy : {true, false}) {
    for (const uint64_t seed : {0, 1, 2, 3}) {
      settings.lazy_copies = lazy;
      settings.seed = seed;
      test(name + (lazy ? ", lazy, seed " : ", eager, seed ") + std::to_string(seed), body);
    }
  }
  settings = before;
#else
  test(name, body);
#endif
}

// Random numbers that their type can hold, the same for the same seed.
template <class T>
std::vector<T> random_values(size_t count, unsigned seed) {
  std::mt19937 bits(seed);
  std::vector<T> values;
  for (size_t i = 0; i < count; ++i) {
    const float x = static_cast<float>(static_cast<int32_t>(bits())) * 0x1p-30f;
    values.push_back(from_float<T>(x));
  }
  return values;
}

template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

// What a matrix instruction adds to an accumulator: 16 exact products, summed in ascending k, rounded once.
template <class T>
float step16(float sum, const T* a, int a_stride, const T* b, int b_stride) {
  double products = 0;
  for (int k = 0; k < 16; ++k) {
    products +=
        static_cast<double>(to_float(a[k * a_stride])) * static_cast<double>(to_float(b[k * b_stride]));
  }
  return static_cast<float>(sum + products);
}

// Sums of step16 over K, a (M,K) and b (N,K), added to what d (M,N) holds.
template <class T>
void multiply(std::vector<float>& d, const std::vector<T>& a, const std::vector<T>& b, int M, int N, int K) {
  for (int m = 0; m < M; ++m) {
    for (int n = 0; n < N; ++n) {
      float& sum = d[static_cast<size_t>(m * N + n)];
      for (int k = 0; k < K; k += 16)
        sum = step16(sum, &a[static_cast<size_t>(m * K + k)], 1, &b[static_cast<size_t>(n * K + k)], 1);
    }
  }
}

}  // namespace kvasir::cuda::test
