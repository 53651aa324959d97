// A weight store in a device's memory: room, staging buffers, copies, and loads that end early. What it holds
// afterwards is load-test.cpp's.

#include <atomic>

#include "check.h"
#include "checkpoint/staging-pool.h"
#include "faults.h"
#include "weights.h"

namespace kvasir::test {
namespace {

// A store in a device's memory and a tensor to load into it, in many pieces.
struct DeviceBench {
  explicit DeviceBench(uint64_t bytes = uint64_t{1} << 30)
      : memory(std::make_shared<DeviceMemory>(bytes)), store(std::make_unique<WeightStore>(memory)) {}

  void add(const std::string& name, DType from, int64_t rows, int64_t cols) {
    source = bench.add(from, {rows, cols});
    store->declare(name, DType::kBF16, Layout::kTiles, rows, cols);
    part.file = bench.file();
    part.source = &source.entry;
  }

  // Nothing is in flight, and nothing was done wrong, even if everything is released now.
  bool settled() const { return memory->in_flight() == 0 && memory->wrong().empty(); }
  bool released() {
    store.reset();
    return settled() && memory->buffers() == 0 && memory->available() == uint64_t{1} << 30;
  }

  Bench bench;
  std::shared_ptr<DeviceMemory> memory;
  std::unique_ptr<WeightStore> store;
  Source source;
  LoadPart part;
};

}  // namespace

void device_store_tests() {
  test("device: room is the device's, whether loaded or not", [] {
    auto memory = std::make_shared<DeviceMemory>(100'000);
    {
      WeightStore store(memory);
      Error panels = error_of([&] { store.declare("p", DType::kF32, Layout::kPanels, 1, 1); });
      CHECK(panels.kind == ErrorKind::kInvalidValue && panels.field == "layout");
      store.declare("a", DType::kBF16, Layout::kTiles, 65, 129);
      CHECK(store.bytes() == 6 * 8192 && memory->available() == 100'000 - 6 * 8192);
      WeightShape rest{"b", DType::kF16, Layout::kRows, (100'000 - 6 * 8192) / 2, 1};
      WeightShape one{"c", DType::kF16, Layout::kRows, 1, 1};
      CHECK(store.check_room({rest}) == 100'000 - 6 * 8192);
      Error plan = error_of([&] { store.check_room({rest, one}); });
      CHECK(plan.kind == ErrorKind::kOutOfMemory && plan.expected == "50850" && plan.found == "50848");
      store.declare("b", rest.dtype, rest.layout, rest.rows, rest.cols);
      Error full = error_of([&] { store.declare("c", one.dtype, one.layout, one.rows, one.cols); });
      CHECK(full.kind == ErrorKind::kOutOfMemory && full.tensor == "c" && full.found == "0");
      CHECK(store.tensors().size() == 2);
    }
    CHECK(memory->available() == 100'000 && memory->wrong().empty());
  });

  test("device: two buffers a thread, 64 MiB at most, until loading is complete", [] {
    for (int count : {1, 3, 40}) {
      DeviceBench b;
      b.add("w", DType::kF32, 7001, 1024);
      CHECK(b.store->load("w", b.part, threads(count)) && holds(*b.store, "w", b.source.values));
      CHECK(b.memory->most_buffers >= 2 && b.memory->most_buffers <= std::min(2 * count, 32));
      const int64_t made = b.memory->buffers_made;
      b.add("v", DType::kBF16, 300, 1000);
      CHECK(b.store->load("v", b.part, threads(1)) && b.memory->buffers_made == made);
      b.store->check_complete();
      CHECK(b.memory->buffers() == 0);
      std::vector<float> values(7001 * 1024);
      b.store->copy_out("w", values.data());
      CHECK(b.memory->buffers() == 1 && b.released());
    }
  });

  test("device: a thread waits where 64 MiB of buffers are lent", [] {
    DeviceMemory memory;
    StagingPool pool(memory);
    std::vector<std::unique_ptr<StagingPool::Lease>> leases;
    for (int i = 0; i < 32; ++i) leases.push_back(std::make_unique<StagingPool::Lease>(pool));
    std::atomic<bool> lent{false};
    std::thread thread([&] {
      StagingPool::Lease last(pool);
      lent = true;
    });
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    CHECK(!lent && memory.buffers_made == 32);
    leases.pop_back();
    thread.join();
    CHECK(lent && memory.buffers_made == 32);
  });

  test("device: one copy a piece, of whole matrices and of gate and up", [] {
    DeviceBench b;
    b.add("w", DType::kF32, 1024, 1024);  // pieces of 64 rows, 256 KiB
    CHECK(b.store->load("w", b.part, threads(2)) && b.memory->writes == 16);
    b.store->declare("gated", DType::kBF16, Layout::kTiles, 2048, 1024);
    b.part.panel_step = 2;
    CHECK(b.store->load("gated", b.part, threads(2)) && b.memory->writes == 32);
    b.part.panel_step = 1;
    b.store->declare("rows", DType::kBF16, Layout::kRows, 1024, 1024);
    CHECK(b.store->load("rows", b.part, threads(2)) && b.memory->writes == 48);
    CHECK(b.released());
  });

  test("device: aborted, before and meanwhile", [] {
    DeviceBench b;
    b.add("w", DType::kF32, 1000, 1000);
    std::atomic<int32_t> abort{1};
    CHECK(!b.store->load("w", b.part, threads(2), &abort) && b.memory->writes == 0);
    abort = 0;
    auto abort_after_two = [&](int64_t items, const auto& body) {
      for (int64_t i = 0; i < items; ++i) body(i, i + 1), abort = i >= 1;
    };
    CHECK(!b.store->load("w", b.part, abort_after_two, &abort));
    CHECK(b.memory->writes == 2 && b.settled() && b.store->get("w").rows_loaded == 0);
    abort = 0;
    CHECK(b.store->load("w", b.part, threads(2), &abort) && holds(*b.store, "w", b.source.values));

    b.add("v", DType::kF32, 1000, 1000);
    CHECK(!b.store->load("v", b.part, abort_after_two, &abort));
    CHECK(b.released());
  });

  test("device: errors of the file, of copies, of buffers, and of the threads, in the middle", [] {
    DeviceBench b;
    b.add("w", DType::kF32, 1000, 1000);
    auto kind = [&] { return error_of([&] { CHECK(!b.store->load("w", b.part, threads(2))); }).kind; };
    for (int64_t at : {0, 1, 5}) {
      inject(Fault::kInputError, at);
      CHECK(kind() == ErrorKind::kFileChanged && b.settled());
      reads_since_inject();
      b.memory->failing_write = b.memory->writes + at;
      CHECK(kind() == ErrorKind::kDevice && b.settled());
      b.memory->failing_wait = b.memory->writes + at;
      CHECK(kind() == ErrorKind::kDevice && b.settled());
    }
    b.memory->failing_wait = b.memory->writes + 15;  // the last piece, which nobody waits for to fill another
    CHECK(kind() == ErrorKind::kDevice && b.settled());
    auto thrower = [](int64_t, const auto& body) {
      body(0, 3);
      throw Error(ErrorKind::kInternal, "no more threads");
    };
    CHECK(error_of([&] { CHECK(!b.store->load("w", b.part, thrower)); }).kind == ErrorKind::kInternal);
    CHECK(b.settled() && b.store->get("w").rows_loaded == 0);
    CHECK(b.store->load("w", b.part, threads(2)) && holds(*b.store, "w", b.source.values));

    std::vector<float> values(1000 * 1000, 1.f);
    b.store->declare("v", DType::kF32, Layout::kTiles, 1000, 1000);
    b.memory->failing_wait = b.memory->writes + 1;
    CHECK(error_of([&] { b.store->load_values("v", values.data(), 1'000'000); }).kind == ErrorKind::kDevice);
    CHECK(b.settled() && b.released());

    for (int64_t buffers : {0, 1}) {
      DeviceBench none;
      none.memory->max_buffers = buffers;
      none.add("w", DType::kF32, 1000, 1000);
      Error error = error_of([&] { CHECK(!none.store->load("w", none.part, threads(2))); });
      CHECK(error.kind == ErrorKind::kOutOfMemory && none.released());
    }
  });

  test("device: a number too large for the stored type", [] {
    DeviceBench b;
    b.store->declare("w", DType::kF16, Layout::kTiles, 1, 3);
    std::vector<float> values = {1, 70000, 2};
    Error error = error_of([&] { b.store->load_values("w", values.data(), 3); });
    CHECK(error.kind == ErrorKind::kUnsupported && b.store->get("w").rows_loaded == 0 && b.released());
  });
}

}  // namespace kvasir::test
