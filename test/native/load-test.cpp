// Loading against plain code: conversion, layouts, merging, interleaving, transposition, odd sizes.

#include "check.h"
#include "weights.h"

namespace kvasir::test {
namespace {

std::string describe(DType from, DType to, const Home& home, bool transposed, int64_t rows, int64_t cols) {
  return std::string(name_of(from)) + "->" + name_of(to) + " " + home.name +
         (transposed ? " transposed " : " ") + std::to_string(rows) + "x" + std::to_string(cols);
}

void check_whole(Bench& bench, DType from, DType to, const Home& home, bool transposed, int64_t rows,
                 int64_t cols, int num_threads) {
  Source source =
      bench.add(from, transposed ? std::vector<int64_t>{cols, rows} : std::vector<int64_t>{rows, cols});
  WeightStore store(home.memory());
  store.declare("w", to, home.layout, rows, cols);
  LoadPart part;
  part.file = bench.file();
  part.source = &source.entry;
  part.transposed = transposed;
  CHECK(store.load("w", part, threads(num_threads)));
  store.check_complete();
  std::vector<double> expected;
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t col = 0; col < cols; ++col) expected.push_back(at(source, transposed, row, col));
  if (!CHECK(holds(store, "w", expected)))
    std::printf("    %s\n", describe(from, to, home, transposed, rows, cols).c_str());
}

// `step` matrices in turn, the last first.
void check_interleaved(const Home& home, DType to, int64_t step, int64_t rows, int64_t cols,
                       bool transposed) {
  Bench bench;
  const int64_t group = home.group(), stored = step * group * ((rows + group - 1) / group);
  std::vector<Source> matrices;
  for (int64_t i = 0; i < step; ++i)
    matrices.push_back(
        bench.add(DType::kF16, transposed ? std::vector{cols, rows} : std::vector{rows, cols}));
  WeightStore store(home.memory());
  store.declare("w", to, home.layout, stored, cols);
  LoadPart part;
  part.file = bench.file();
  part.transposed = transposed;
  part.panel_step = step;
  part.rows = rows;
  std::vector<double> expected(static_cast<size_t>(stored * cols), NAN);
  for (int64_t i = step - 1; i >= 0; --i) {
    const Source& matrix = matrices[static_cast<size_t>(i)];
    part.first_panel = i;
    part.source = &matrix.entry;
    CHECK(store.load("w", part, threads(2)));
    for (int64_t row = 0; row < rows; ++row)
      for (int64_t col = 0; col < cols; ++col)
        expected[static_cast<size_t>(((step * (row / group) + i) * group + row % group) * cols + col)] =
            at(matrix, transposed, row, col);
  }
  store.check_complete();
  if (!CHECK(holds(store, "w", expected)))
    std::printf("    %lld of %s\n", static_cast<long long>(step),
                describe(DType::kF16, to, home, transposed, rows, cols).c_str());
}

std::vector<std::pair<Home, DType>> homes_and_dtypes() {
  std::vector<std::pair<Home, DType>> all;
  for (const Home& home : kHomes)
    for (DType dtype : kDTypes) all.emplace_back(home, dtype);
  return all;
}

}  // namespace

// Rows in runs among others of the file's, and what their numbers lack.
void check_runs(const Home& home, DType from, DType to, const LoadPart& runs, int64_t cols, float addend) {
  Bench bench;
  const int64_t last = runs.rows - 1;
  const auto file_row = [&](int64_t row) {
    return runs.source_row_offset + row / runs.run_rows * runs.run_stride + row % runs.run_rows;
  };
  Source source = bench.add(from, {file_row(last) + 3, cols});
  LoadPart part = runs;
  part.file = bench.file();
  part.source = &source.entry;
  part.source_rows = file_row(last) + 3;
  part.addend = addend;
  WeightStore store(home.memory());
  store.declare("w", to, home.layout, part.rows, cols);
  CHECK(store.load("w", part, threads(2)));
  store.check_complete();
  std::vector<double> expected;
  for (int64_t row = 0; row < part.rows; ++row)
    for (int64_t col = 0; col < cols; ++col) {
      const double value = at(source, false, file_row(row), col);
      expected.push_back(addend == 0 ? value : static_cast<float>(value) + addend);
    }
  if (!CHECK(holds(store, "w", expected)))
    std::printf("    runs of %lld, %s\n", static_cast<long long>(runs.run_rows),
                describe(from, to, home, false, part.rows, cols).c_str());
}

void load_tests() {
  test("the index of a number in tiles", [] {
    bool right = true;
    for (DType dtype : kDTypes) {
      StoredTensor t;
      t.dtype = dtype;
      t.layout = Layout::kTiles;
      for (int64_t cols : {1, 8, 33, 64, 65, 200}) {
        t.cols = cols;
        for (int64_t row = 0; row < 150; ++row)
          for (int64_t col = 0; col < cols; ++col)
            right &= index_of(t, row, col) == tile_index(dtype, cols, row, col);
      }
    }
    CHECK(right);
  });

  for (const Home& home : kHomes) {
    for (bool transposed : {false, true}) {
      test(std::string("every conversion at odd sizes, ") + home.name + (transposed ? ", transposed" : ""),
           [=] {
             Bench bench;
             for (DType from : kDTypes)
               for (DType to : kDTypes)
                 for (int64_t rows : {1, 3, 31, 32, 33, 65})
                   for (int64_t cols : {1, 2, 3, 4, 31, 63, 64, 65, 130})
                     check_whole(bench, from, to, home, transposed, rows, cols, 1);
           });
    }
  }

  test("rows in runs among others", [] {
    for (const auto& [home, to] : homes_and_dtypes())
      for (int64_t run : {1, 5, 40, 64})
        for (int64_t cols : {1, 7, 130}) {
          LoadPart runs;
          runs.rows = 3 * run;
          runs.source_row_offset = run + 2;
          runs.run_rows = run;
          runs.run_stride = 3 * run;
          check_runs(home, DType::kF32, to, runs, cols, 0);
          check_runs(home, DType::kBF16, to, runs, cols, 0);
        }
  });

  test("many rows in runs, of several pieces", [] {
    LoadPart runs;
    runs.rows = 32 * 80;
    runs.run_rows = 80;
    runs.run_stride = 240;
    for (const Home& home : kHomes) check_runs(home, DType::kF32, DType::kF32, runs, 300, 0);
  });

  test("what numbers lack is added to them", [] {
    for (const Home& home : kHomes)
      for (DType from : kDTypes) {
        if (home.layout != Layout::kRows) continue;
        LoadPart runs;
        runs.rows = 100;
        runs.run_rows = 7;
        runs.run_stride = 9;
        check_runs(home, from, DType::kF32, runs, 1, 1);
        check_runs(home, from, DType::kF32, runs, 33, 1);
      }
  });

  test("matrices one below the other, each filled up", [] {
    for (const auto& [home, to] : homes_and_dtypes()) {
      Bench bench;
      const int64_t rows = 33, cols = 70, filled = stacked_rows(rows);
      std::vector<Source> matrices{bench.add(DType::kF32, {rows, cols}),
                                   bench.add(DType::kF32, {rows, cols})};
      WeightStore store(home.memory());
      store.declare("w", to, home.layout, 2 * filled, cols);
      LoadPart part;
      part.file = bench.file();
      part.rows = rows;
      std::vector<double> expected(static_cast<size_t>(2 * filled * cols), 0);
      for (int64_t i = 0; i < 2; ++i) {
        part.source = &matrices[static_cast<size_t>(i)].entry;
        part.row_offset = i * filled;
        part.filled_rows = i == 0 ? filled : 0;
        CHECK(store.load("w", part, threads(2)));
        for (int64_t row = 0; row < rows; ++row)
          for (int64_t col = 0; col < cols; ++col)
            expected[static_cast<size_t>((i * filled + row) * cols + col)] =
                at(matrices[static_cast<size_t>(i)], false, row, col);
      }
      CHECK(error_of([&] { store.check_complete(); }).kind ==
            ErrorKind::kFileFormat);  // the second's last rows
      CHECK(holds(store, "w", expected));
    }
  });

  test("runs and addends that cannot be", [] {
    Bench bench;
    Source source = bench.add(DType::kF32, {20, 3});
    const platform::File* file = bench.file();
    const auto kind = [&](DType dtype, Layout layout, auto change) {
      WeightStore store;
      store.declare("w", dtype, layout, 8, 3);
      LoadPart part;
      part.file = file;
      part.source = &source.entry;
      part.source_rows = 20;
      part.run_rows = 2;
      part.run_stride = 6;
      change(part);
      return error_of([&] { static_cast<void>(store.load("w", part, threads(1))); }).kind;
    };
    const auto runs = [&](int64_t offset, int64_t run, int64_t stride) {
      return kind(DType::kF32, Layout::kRows, [&](LoadPart& part) {
        part.source_row_offset = offset;
        part.run_rows = run;
        part.run_stride = stride;
      });
    };
    for (auto [offset, run, stride] :
         {std::tuple<int64_t, int64_t, int64_t>{1, 2, 6},  // the last row is the 21st
          {0, -1, 6},
          {0, 2, 1},
          {0, 2, INT64_MAX},
          {INT64_MAX - 8, 2, 6},
          {0, 2, 7}})
      CHECK(runs(offset, run, stride) == ErrorKind::kInvalidValue);
    CHECK(kind(DType::kF32, Layout::kRows, [](LoadPart& part) { part.paired_rows = 2; }) ==
          ErrorKind::kInvalidValue);
    for (int64_t filled : {int64_t{-1}, int64_t{7}, int64_t{9}})
      CHECK(kind(DType::kF32, Layout::kRows, [=](LoadPart& part) { part.filled_rows = filled; }) ==
            ErrorKind::kInvalidValue);
    CHECK(kind(DType::kF32, Layout::kRows, [](LoadPart& part) { part.transposed = true; }) ==
          ErrorKind::kInvalidValue);
    CHECK(kind(DType::kF16, Layout::kRows, [](LoadPart& part) { part.addend = 1; }) ==
          ErrorKind::kInvalidValue);
    CHECK(kind(DType::kF32, Layout::kPanels, [](LoadPart& part) { part.addend = 1; }) ==
          ErrorKind::kInvalidValue);
  });

  test("many pieces, blocks of columns and blocks of rows, on several threads", [] {
    for (auto [rows, cols, transposed] : {std::tuple{1000, 300, false},
                                          {301, 1000, true},
                                          {70, 17'001, false},
                                          {270'001, 3, true},
                                          {40, 3001, true},
                                          {1, 40'000, false}}) {
      for (const Home& home : kHomes) {
        Bench bench;
        check_whole(bench, DType::kF32, DType::kF32, home, transposed, rows, cols, 3);
        check_whole(bench, DType::kF32, DType::kBF16, home, transposed, rows, cols, 3);
      }
    }
    for (const Home& home : kHomes) {
      Bench bench;
      check_whole(bench, DType::kF16, DType::kF16, home, false, 33, 33'001, 3);
      check_whole(bench, DType::kF16, DType::kF32, home, false, 65, 20'001, 3);
    }
  });

  test("vectors: a column, a row, a scalar", [] {
    Bench bench;
    Source source = bench.add(DType::kF16, {77}), scalar = bench.add(DType::kF32, {});
    LoadPart part;
    part.file = bench.file();
    part.transposed = true;  // a vector is its own transpose
    for (const Home& home : kHomes) {
      WeightStore store(home.memory());
      store.declare("column", DType::kF32, home.layout, 77, 1);
      store.declare("row", DType::kF32, home.layout, 1, 77);
      part.source = &source.entry;
      CHECK(store.load("column", part, threads(1)) && holds(store, "column", source.values));
      CHECK(store.load("row", part, threads(1)) && holds(store, "row", source.values));
      store.declare("scalar", DType::kF32, home.layout, 1, 1);
      part.source = &scalar.entry;
      CHECK(store.load("scalar", part, threads(1)) && holds(store, "scalar", scalar.values));
    }
  });

  test("q, k and v merged at offsets that are no panel's, from three tensors and from parts of one", [] {
    for (auto [home, to] : homes_and_dtypes()) {
      for (bool transposed : {false, true}) {
        Bench bench;
        constexpr int64_t kCols = 37, kSizes[] = {40, 23, 24};
        std::vector<Source> sources;
        for (int64_t rows : kSizes)
          sources.push_back(
              bench.add(DType::kF32, transposed ? std::vector{kCols, rows} : std::vector{rows, kCols}));
        Source merged = bench.add(
            DType::kBF16, transposed ? std::vector{kCols, int64_t{87}} : std::vector{int64_t{87}, kCols});
        WeightStore store(home.memory());
        store.declare("three", to, home.layout, 87, kCols);
        store.declare("one", to, home.layout, 87, kCols);
        LoadPart part;
        part.file = bench.file();
        part.transposed = transposed;
        std::vector<double> expected, expected_one;
        for (int i : {2, 0, 1}) {
          part.row_offset = i == 0 ? 0 : i == 1 ? 40 : 63;
          part.rows = kSizes[i];
          part.source_row_offset = 0;
          part.source_rows = -1;
          part.source = &sources[static_cast<size_t>(i)].entry;
          CHECK(error_of([&] { store.check_complete(); }).kind == ErrorKind::kFileFormat);
          CHECK(store.load("three", part, threads(2)));
          part.source = &merged.entry;
          part.source_row_offset = part.row_offset;
          part.source_rows = 87;
          CHECK(store.load("one", part, threads(2)));
        }
        store.check_complete();
        for (size_t i = 0; i < 3; ++i)
          for (int64_t row = 0; row < kSizes[i]; ++row)
            for (int64_t col = 0; col < kCols; ++col)
              expected.push_back(at(sources[i], transposed, row, col));
        for (int64_t row = 0; row < 87; ++row)
          for (int64_t col = 0; col < kCols; ++col) expected_one.push_back(at(merged, transposed, row, col));
        CHECK(holds(store, "three", expected));
        CHECK(holds(store, "one", expected_one));
      }
    }
  });

  test("gate and up interleaved, weights and biases, and three matrices", [] {
    for (auto [home, to] : homes_and_dtypes())
      for (int64_t step : {2, 3, 4})
        for (int64_t rows : {1, 32, 45, 64, 65})
          for (int64_t cols : {1, 33, 130}) check_interleaved(home, to, step, rows, cols, false);
    for (const Home& home : kHomes) check_interleaved(home, DType::kBF16, 2, 333, 1001, false);
    for (const Home& home : kHomes) check_interleaved(home, DType::kF16, 2, 333, 1001, true);
  });

  test("an interleaved matrix in parts", [] {
    for (const Home& home : kHomes) {
      Bench bench;
      const int64_t group = home.group();
      Source parts[] = {bench.add(DType::kF32, {group, 5}), bench.add(DType::kF32, {2 * group - 3, 5})};
      WeightStore store(home.memory());
      store.declare("w", DType::kF16, home.layout, 6 * group, 5);
      LoadPart part;
      part.file = bench.file();
      part.panel_step = 2;
      part.first_panel = 1;
      std::vector<double> expected(static_cast<size_t>(6 * group * 5), NAN);
      for (int i : {1, 0}) {
        part.source = &parts[i].entry;
        part.row_offset = i * group;
        part.rows = parts[i].entry.shape[0];
        CHECK(store.load("w", part, threads(2)));
        for (int64_t row = 0; row < part.rows; ++row)
          for (int64_t col = 0; col < 5; ++col)
            expected[static_cast<size_t>((((i + row / group) * 2 + 1) * group + row % group) * 5 + col)] =
                at(parts[i], false, row, col);
      }
      CHECK(store.get("w").rows_loaded == 3 * group && holds(store, "w", expected));
    }
  });

  test("one matrix of a stack", [] {
    Bench bench;
    Source stack = bench.add(DType::kF32, {3, 20, 10});
    WeightStore store;
    store.declare("w", DType::kF32, Layout::kPanels, 20, 10);
    LoadPart part;
    part.file = bench.file();
    part.source = &stack.entry;
    part.source_row_offset = 20;
    part.source_rows = 60;
    CHECK(store.load("w", part, threads(1)));
    CHECK(holds(store, "w", {stack.values.begin() + 200, stack.values.begin() + 400}));
  });

  test("load_values: constants in every layout", [] {
    std::mt19937 random(3);
    for (auto [home, to] : homes_and_dtypes()) {
      for (auto [rows, cols] : {std::pair{70, 9}, {3000, 65}, {2, 70'001}}) {
        WeightStore store(home.memory());
        store.declare("w", to, home.layout, rows, cols);
        std::vector<float> values;
        const int64_t count = int64_t{rows} * cols;
        for (int64_t i = 0; i < count; ++i) values.push_back(static_cast<float>(random()) / 1e6f);
        CHECK(error_of([&] { store.load_values("w", values.data(), count - 1); }).kind ==
              ErrorKind::kInvalidValue);
        store.load_values("w", values.data(), count);
        store.check_complete();
        CHECK(holds(store, "w", {values.begin(), values.end()}));
        CHECK(error_of([&] { store.load_values("w", values.data(), count); }).kind ==
              ErrorKind::kInvalidValue);
      }
    }
  });
}

}  // namespace kvasir::test
