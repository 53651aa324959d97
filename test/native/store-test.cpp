// What the weight store refuses, and how a load ends that cannot be finished.

#include <atomic>
#include <filesystem>

#include "check.h"
#include "faults.h"
#include "weights.h"

namespace kvasir::test {

void store_tests() {
  test("declare: sizes, dtypes, names and memory", [] {
    WeightStore store;
    auto kind = [&](const std::string& name, DType dtype, int64_t rows, int64_t cols) {
      return error_of([&] { store.declare(name, dtype, Layout::kPanels, rows, cols); }).kind;
    };
    for (auto [rows, cols] : {std::pair<int64_t, int64_t>{0, 1},
                              {1, 0},
                              {-1, 1},
                              {1, -5},
                              {INT64_MAX, 1},
                              {INT64_MIN, 1},
                              {int64_t{1} << 40, int64_t{1} << 40}})
      CHECK(kind("w", DType::kF32, rows, cols) == ErrorKind::kInvalidValue);
    CHECK(kind("w", DType::kI32, 1, 1) == ErrorKind::kDType);
    CHECK(kind("w", DType::kF32, int64_t{1} << 36, 32) == ErrorKind::kOutOfMemory);
    CHECK(store.tensors().empty() && store.bytes() == 0 && !store.find("w"));
    const StoredTensor& w = store.declare("w", DType::kF16, Layout::kPanels, 33, 5);
    CHECK(w.bytes == 2 * 32 * 5 * 2 && store.bytes() == w.bytes && store.find("w") == &w);
    CHECK(kind("w", DType::kF32, 1, 1) == ErrorKind::kInvalidValue);
    CHECK(error_of([&] { store.get("v"); }).kind == ErrorKind::kInvalidValue);
    const StoredTensor& t = store.declare("t", DType::kF32, Layout::kTiles, 65, 33);
    CHECK(t.bytes == 2 * 2 * 64 * 128 && reinterpret_cast<uintptr_t>(t.data) % 128 == 0);
  });

  test("stored_bytes and check_room: before anything is declared", [] {
    auto bytes = [](DType dtype, Layout layout, int64_t rows, int64_t cols) {
      return stored_bytes({"w", dtype, layout, rows, cols});
    };
    CHECK(bytes(DType::kF16, Layout::kRows, 33, 5) == 33 * 5 * 2);
    CHECK(bytes(DType::kBF16, Layout::kPanels, 33, 5) == 64 * 6 * 2);
    CHECK(bytes(DType::kBF16, Layout::kTiles, 64, 64) == 8192);
    CHECK(bytes(DType::kF32, Layout::kTiles, 64, 64) == 2 * 8192);
    CHECK(bytes(DType::kF16, Layout::kTiles, 1, 65) == 2 * 8192);
    for (Layout layout : {Layout::kRows, Layout::kPanels, Layout::kTiles}) {
      int64_t most = int64_t{1} << 40;
      CHECK(error_of([&] { bytes(DType::kF32, layout, most, most); }).kind == ErrorKind::kInvalidValue);
      CHECK(error_of([&] { bytes(DType::kF32, layout, 0, 1); }).kind == ErrorKind::kInvalidValue);
      CHECK(error_of([&] { bytes(DType::kI32, layout, 1, 1); }).kind == ErrorKind::kDType);
    }
    WeightStore store;
    WeightShape small{"s", DType::kF32, Layout::kPanels, 32, 10};
    WeightShape large{"l", DType::kF32, Layout::kRows, int64_t{1} << 40, int64_t{1} << 20};
    CHECK(store.check_room({}) == 0 && store.check_room({small, small}) == 2 * 32 * 10 * 4);
    Error error = error_of([&] { store.check_room({small, large, large, large, large, large}); });
    CHECK(error.kind == ErrorKind::kOutOfMemory && !error.expected.empty() && !error.found.empty());
    CHECK(store.tensors().empty());
  });

  test("declare: weights that are not loaded yet count", [] {
    WeightStore store;
    auto most = static_cast<int64_t>(platform::available_memory());
    store.declare("half", DType::kF32, Layout::kRows, most / 4096 / 2, 1024);
    Error error =
        error_of([&] { store.declare("another", DType::kF32, Layout::kRows, most / 4096 * 3 / 4, 1024); });
    CHECK(error.kind == ErrorKind::kOutOfMemory && error.tensor == "another" && !error.expected.empty());
  });

  test("load: wrong parts", [] {
    Bench bench;
    Source source = bench.add(DType::kF32, {40, 8});
    WeightStore store;
    store.declare("w", DType::kF32, Layout::kPanels, 40, 8);
    store.declare("even", DType::kF32, Layout::kPanels, 128, 8);
    LoadPart good;
    good.file = bench.file();
    good.source = &source.entry;
    auto refused = [&](const std::string& name, auto change) {
      LoadPart part = good;
      change(part);
      Error error = error_of([&] { CHECK(!store.load(name, part, threads(1))); });
      return error.kind == ErrorKind::kInvalidValue && !error.expected.empty() && !error.found.empty();
    };
    CHECK(refused("v", [](LoadPart&) {}));
    CHECK(refused("w", [](LoadPart& part) { part.file = nullptr; }));
    CHECK(refused("w", [](LoadPart& part) { part.source = nullptr; }));
    for (int64_t bad : {int64_t{-2}, int64_t{0}, int64_t{41}, INT64_MAX, INT64_MIN})
      CHECK(refused("w", [&](LoadPart& part) { part.rows = bad; }));
    for (int64_t bad : {int64_t{-1}, int64_t{40}, INT64_MAX, INT64_MIN}) {
      CHECK(refused("w", [&](LoadPart& part) { part.row_offset = bad; }));
      CHECK(refused("w", [&](LoadPart& part) { part.first_panel = bad; }));
    }
    for (int64_t bad : {int64_t{-1}, INT64_MAX, INT64_MIN})
      CHECK(refused("w", [&](LoadPart& part) { part.source_row_offset = bad; }));
    for (int64_t bad : {int64_t{0}, int64_t{39}, int64_t{-2}})
      CHECK(refused("w", [&](LoadPart& part) { part.source_rows = bad; }));
    for (int64_t bad : {int64_t{0}, int64_t{-1}, int64_t{2}, INT64_MAX})
      CHECK(refused("w", [&](LoadPart& part) { part.panel_step = bad; }));
    CHECK(refused("even", [](LoadPart& part) { part.panel_step = 2, part.rows = 40, part.row_offset = 8; }));
    CHECK(refused("even", [](LoadPart& part) { part.panel_step = 3, part.rows = 40; }));
    CHECK(store.load("w", good, threads(1)));
    CHECK(refused("w", [](LoadPart&) {}));
  });

  test("S10 load: wrong shapes and dtypes name file, tensor, expected and found", [] {
    Bench bench;
    Source source = bench.add(DType::kF32, {40, 8});
    WeightStore store;
    LoadPart part;
    part.file = bench.file();
    part.source = &source.entry;
    auto refused = [&](int64_t rows, int64_t cols, bool transposed, const std::string& expected) {
      std::string name = std::to_string(store.tensors().size());
      store.declare(name, DType::kF32, Layout::kPanels, rows, cols);
      part.transposed = transposed;
      Error error = error_of([&] { CHECK(!store.load(name, part, threads(1))); });
      return error.kind == ErrorKind::kFileFormat && error.field == "shape" &&
             error.file == part.file->path() && error.tensor == source.entry.name &&
             error.expected == expected && error.found == "(40, 8)";
    };
    CHECK(refused(41, 8, false, "(41, 8)"));
    CHECK(refused(39, 8, false, "(39, 8)"));
    CHECK(refused(40, 9, false, "(40, 9)"));
    CHECK(refused(40, 8, true, "(8, 40)"));
    CHECK(refused(320, 1, false, "(320, 1)"));
    store.declare("w", DType::kF32, Layout::kPanels, 40, 8);
    part.transposed = false;
    for (const char* dtype : {"I64", "F64", "BOOL", "F8_E4M3", "", "F32 "}) {
      source.entry.dtype = dtype;
      Error error = error_of([&] { CHECK(!store.load("w", part, threads(1))); });
      CHECK(error.kind == ErrorKind::kUnsupported && error.field == "dtype" &&
            error.tensor == source.entry.name);
    }
    source.entry.dtype = "F32";
    TensorEntry whole = source.entry;
    for (uint64_t offset : {whole.offset + 1, UINT64_MAX, UINT64_MAX - whole.bytes + 1}) {
      source.entry.offset = offset;
      CHECK(error_of([&] { CHECK(!store.load("w", part, threads(1))); }).kind == ErrorKind::kFileFormat);
    }
    source.entry = whole;
    source.entry.bytes -= 4;
    CHECK(error_of([&] { CHECK(!store.load("w", part, threads(1))); }).kind == ErrorKind::kFileFormat);
  });

  test("load: a number too large for the stored type is refused, infinities and NaN are kept", [] {
    Folder folder;
    auto load = [&](std::vector<float> values, DType dtype) {
      write_file(folder / "f", bytes_of(values));
      platform::File file(folder / "f");
      TensorEntry entry{"t", "F32", {static_cast<int64_t>(values.size())}, 0, values.size() * 4};
      WeightStore store;
      store.declare("w", dtype, Layout::kRows, static_cast<int64_t>(values.size()), 1);
      LoadPart part;
      part.file = &file;
      part.source = &entry;
      CHECK(store.load("w", part, threads(1)));
      store.copy_out("w", values.data());
      return values;
    };
    CHECK(load({65519.f, -65504.f}, DType::kF16)[0] == 65504.f);
    CHECK(error_of([&] { load({0, -65520.f}, DType::kF16); }).kind == ErrorKind::kUnsupported);
    CHECK(error_of([&] { load({3.4e38f}, DType::kBF16); }).kind == ErrorKind::kUnsupported);
    for (DType dtype : kDTypes) {
      std::vector<float> kept = load({INFINITY, -INFINITY, NAN, -0.f}, dtype);
      CHECK(kept[0] == INFINITY && kept[1] == -INFINITY && std::isnan(kept[2]) && std::signbit(kept[3]));
    }
  });

  test("S12 S14 load: input errors, a file that shrinks, changes, or is read in scraps", [] {
    Bench bench;
    Source source = bench.add(DType::kF32, {600, 300});
    WeightStore store;
    store.declare("w", DType::kF32, Layout::kPanels, 600, 300);
    LoadPart part;
    part.file = bench.file();
    part.source = &source.entry;
    for (Fault fault : {Fault::kInputError, Fault::kEnd}) {
      for (int64_t at = 0;; ++at) {
        inject(fault, at);
        if (at == 3) break;
        CHECK(error_of([&] { CHECK(!store.load("w", part, threads(2))); }).kind == ErrorKind::kFileChanged);
      }
    }
    reads_since_inject();
    CHECK(error_of([&] { store.check_complete(); }).kind == ErrorKind::kFileFormat);
    std::filesystem::last_write_time(part.file->path(),
                                     std::filesystem::file_time_type::clock::now() + std::chrono::hours(1));
    CHECK(error_of([&] { CHECK(!store.load("w", part, threads(2))); }).kind == ErrorKind::kFileChanged);
    part.file = bench.file();
    inject(Fault::kShort, 1);
    CHECK(store.load("w", part, threads(2)) && holds(store, "w", source.values));
    reads_since_inject();
  });

  test("load: aborted, before and meanwhile, and by a ParallelFor that leaves work out", [] {
    Bench bench;
    Source source = bench.add(DType::kF32, {600, 300});
    WeightStore store;
    store.declare("w", DType::kF16, Layout::kPanels, 600, 300);
    LoadPart part;
    part.file = bench.file();
    part.source = &source.entry;
    std::atomic<int32_t> abort{1};
    CHECK(!store.load("w", part, threads(2), &abort));
    abort = 0;
    int64_t calls = 0;
    CHECK(!store.load(
        "w", part,
        [&](int64_t items, const auto& body) {
          for (int64_t i = 0; i < items; ++i, ++calls) body(i, i + 1), abort = 1;
        },
        &abort));
    CHECK(calls > 1);
    CHECK(!store.load("w", part, [](int64_t items, const auto& body) { body(1, items); }));
    CHECK(store.get("w").rows_loaded == 0);
    abort = 0;
    CHECK(store.load("w", part, threads(2), &abort) && holds(store, "w", source.values));
  });
}

}  // namespace kvasir::test
