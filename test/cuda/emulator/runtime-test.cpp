#include <cstring>
#include <string>

#include "device.h"
#include "tests.h"

namespace kvasir::cuda::test {

namespace {

__global__ void add(const float* x, float* y, float value, int n) {
  ptx::wait_for_predecessor();
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < n) y[i] = x[i] + value;
}

// A page-locked array.
class Pinned {
 public:
  explicit Pinned(int64_t count) : data_(reinterpret_cast<float*>(allocate_pinned(count * 4))) {}
  ~Pinned() { release_pinned(bytes()); }
  float& operator[](int64_t i) { return data_[i]; }
  std::byte* bytes() { return reinterpret_cast<std::byte*>(data_); }

 private:
  float* data_;
};

void test_work_in_order() {
  Device device;
  Pinned host(8), back(8);
  for (int i = 0; i < 8; ++i) host[i] = static_cast<float>(i);
  const Buffer<float> x(device.stream, 8), y(device.stream, 8);
  device.stream.copy_to_device(x.bytes(), host.bytes(), 32);
  launch(device.execution, add, {1, 32}, x.data(), y.data(), 10.0f, 8);
  device.stream.copy_on_device(x.bytes(), y.bytes(), 16);
  device.stream.fill(y.bytes() + 28, 0, 4);
  device.stream.copy_to_host(back.bytes(), y.bytes(), 32);
  device.stream.synchronize();
  CHECK(back[0] == 10 && back[6] == 16 && back[7] == 0);
  CHECK(x.values()[3] == 13 && x.values()[4] == 4);
}

void test_pieces() {
  Device device;
  Pinned host(12);
  for (int i = 0; i < 12; ++i) host[i] = static_cast<float>(i);
  const Buffer<float> x(device.stream, std::vector<float>(15, -1.0f));
  device.stream.copy_pieces_to_device(x.bytes(), 20, host.bytes(), 16, 12, 3);
  const std::vector<float> want = {0, 1, 2, -1, -1, 4, 5, 6, -1, -1, 8, 9, 10, -1, -1};
  CHECK(x.values() == want);
}

void test_graphs() {
  Device device;
  Pinned host(1);
  const Buffer<float> x(device.stream, 1), y(device.stream, 1);
  device.stream.begin_capture();
  device.stream.copy_to_device(x.bytes(), host.bytes(), 4);
  launch(device.execution, add, {1, 1}, x.data(), y.data(), 1.0f, 1);
  launch(device.execution, add, {1, 1}, y.data(), y.data(), 0.5f, 1);
  const std::unique_ptr<Graph> graph = device.stream.end_capture();
  for (int i = 0; i < 3; ++i) {
    host[0] = static_cast<float>(i);
    device.stream.launch(*graph);
    CHECK(y.values()[0] == static_cast<float>(i) + 1.5f);
  }
}

void test_events() {
  Device device;
  const Buffer<float> x(device.stream, std::vector<float>(1000, 1.0f)), y(device.stream, 1000);
  Event start(device.stream.device()), end(device.stream.device());
  CHECK(start.reached());
  device.stream.record(start);
  launch(device.execution, add, {1000, 32}, x.data(), y.data(), 1.0f, 1000);
  device.stream.record(end);
  while (!end.reached()) {
  }
  CHECK(end.milliseconds_since(start) > 0);
}

void test_errors() {
  Device device;
  const int64_t shared_bytes = device.info.shared_bytes + 1;
  const Buffer<float> y(device.stream, 1);
  const auto launch_error = [&](LaunchShape shape) {
    return error_of([&] { launch(device.execution, add, shape, y.data(), y.data(), 0.0f, 0); }).kind;
  };
  CHECK(launch_error({1, 1025}) == ErrorKind::kDevice);
  CHECK(launch_error({1, dim3(1, 1, 65)}) == ErrorKind::kDevice);
  CHECK(launch_error({0, 32}) == ErrorKind::kDevice);
  CHECK(launch_error({dim3(1, 65536), 32}) == ErrorKind::kDevice);
  CHECK(launch_error({1, 32, shared_bytes}) == ErrorKind::kDevice);
  CHECK(error_of([&] { device_info(device_count()); }).kind == ErrorKind::kDevice);
  CHECK(error_of([&] { device.stream.end_capture(); }).kind == ErrorKind::kDevice);
}

#ifdef KVASIR_CUDA_EMULATED

void test_laziness() {
  Device device;
  Pinned host(1);
  const Buffer<float> x(device.stream, 1);
  host[0] = 1;
  device.stream.copy_to_device(x.bytes(), host.bytes(), 4);
  host[0] = 2;  // too early
  CHECK(x.values()[0] == 2);
}

void test_memory_limits() {
  emulator::Settings& settings = emulator::settings();
  const int64_t before = settings.memory_bytes;
  settings.memory_bytes = 1000;
  CHECK(device_info(0).memory_bytes == 1000 && device_info(0).free_bytes == 1000);
  std::byte* p = allocate(0, 600);
  CHECK(reinterpret_cast<uintptr_t>(p) % 256 == 0);
  CHECK(device_info(0).free_bytes == 400);
  CHECK(error_of([] { allocate(0, 500); }).kind == ErrorKind::kOutOfMemory);
  std::byte* q = allocate(1, 1000);
  release(0, p);
  CHECK(device_info(0).free_bytes == 1000);
  release(1, q);
  settings.memory_bytes = before;
}

void test_wrong_memory() {
  Device device;
  const Buffer<float> x(device.stream, 4);
  Pinned host(4);
  float plain[4] = {};
  std::byte* unpinned = reinterpret_cast<std::byte*>(plain);
  CHECK(error_of([&] { device.stream.copy_to_device(x.bytes(), unpinned, 16); }).kind == ErrorKind::kDevice);
  CHECK(error_of([&] { device.stream.copy_to_host(unpinned, x.bytes(), 16); }).kind == ErrorKind::kDevice);
  CHECK(error_of([&] { device.stream.copy_to_device(x.bytes(), host.bytes(), 20); }).kind ==
        ErrorKind::kDevice);
  CHECK(error_of([&] { device.stream.copy_to_device(host.bytes(), host.bytes(), 16); }).kind ==
        ErrorKind::kDevice);
  CHECK(error_of([&] { release(0, host.bytes()); }).kind == ErrorKind::kDevice);
  Stream other(1);
  CHECK(error_of([&] { other.fill(x.bytes(), 0, 16); }).kind == ErrorKind::kDevice);
}

#endif

}  // namespace

void test_runtime() {
  test("a stream works in order", test_work_in_order);
  test("copies of pieces", test_pieces);
  test("graphs replay what was captured", test_graphs);
  test("events", test_events);
  test("what no device would launch", test_errors);
#ifdef KVASIR_CUDA_EMULATED
  test("copies are late", test_laziness);
  test("devices' memory has an end", test_memory_limits);
  test("copies from and to the wrong memory", test_wrong_memory);
#endif
}

}  // namespace kvasir::cuda::test
