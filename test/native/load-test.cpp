// Loading against plain code: conversion, layouts, merging, interleaving, transposition, odd sizes.

#include "check.h"
#include "weights.h"

namespace kvasir::test {
namespace {

std::string describe(DType from, DType to, Layout layout, bool transposed, int64_t rows, int64_t cols) {
  return std::string(name_of(from)) + "->" + name_of(to) + (layout == Layout::kPanels ? " panels" : " rows") +
         (transposed ? " transposed " : " ") + std::to_string(rows) + "x" + std::to_string(cols);
}

void check_whole(Bench& bench, DType from, DType to, Layout layout, bool transposed, int64_t rows,
                 int64_t cols, int num_threads) {
  Source source =
      bench.add(from, transposed ? std::vector<int64_t>{cols, rows} : std::vector<int64_t>{rows, cols});
  WeightStore store;
  store.declare("w", to, layout, rows, cols);
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
    std::printf("    %s\n", describe(from, to, layout, transposed, rows, cols).c_str());
}

}  // namespace

void load_tests() {
  for (Layout layout : {Layout::kRows, Layout::kPanels}) {
    for (bool transposed : {false, true}) {
      test(std::string("every conversion at odd sizes, ") + (layout == Layout::kPanels ? "panels" : "rows") +
               (transposed ? ", transposed" : ""),
           [=] {
             Bench bench;
             for (DType from : kDTypes)
               for (DType to : kDTypes)
                 for (int64_t rows : {1, 3, 31, 32, 33, 65})
                   for (int64_t cols : {1, 2, 3, 4, 31, 63, 64, 65, 130})
                     check_whole(bench, from, to, layout, transposed, rows, cols, 1);
           });
    }
  }

  test("many pieces, blocks of columns and blocks of rows, on several threads", [] {
    for (auto [rows, cols, transposed] : {std::tuple{1000, 300, false},
                                          {301, 1000, true},
                                          {70, 17'001, false},
                                          {270'001, 3, true},
                                          {40, 3001, true},
                                          {1, 40'000, false}}) {
      for (Layout layout : {Layout::kRows, Layout::kPanels}) {
        Bench bench;
        check_whole(bench, DType::kF32, DType::kF32, layout, transposed, rows, cols, 3);
        check_whole(bench, DType::kF32, DType::kBF16, layout, transposed, rows, cols, 3);
      }
    }
    Bench bench;
    check_whole(bench, DType::kF16, DType::kF16, Layout::kPanels, false, 33, 33'001, 3);
  });

  test("vectors: a column, a row, a scalar", [] {
    Bench bench;
    Source source = bench.add(DType::kF16, {77}), scalar = bench.add(DType::kF32, {});
    LoadPart part;
    part.file = bench.file();
    part.source = &source.entry;
    WeightStore store;
    store.declare("column", DType::kF32, Layout::kRows, 77, 1);
    store.declare("row", DType::kF32, Layout::kRows, 1, 77);
    part.transposed = true;  // a vector is its own transpose
    CHECK(store.load("column", part, threads(1)) && holds(store, "column", source.values));
    CHECK(store.load("row", part, threads(1)) && holds(store, "row", source.values));
    store.declare("scalar", DType::kF32, Layout::kRows, 1, 1);
    part.source = &scalar.entry;
    CHECK(store.load("scalar", part, threads(1)) && holds(store, "scalar", scalar.values));
  });

  test("q, k and v merged at offsets that are no panel's, from three tensors and from parts of one", [] {
    for (DType to : kDTypes) {
      for (bool transposed : {false, true}) {
        Bench bench;
        constexpr int64_t kCols = 37, kSizes[] = {40, 23, 24};
        std::vector<Source> sources;
        for (int64_t rows : kSizes)
          sources.push_back(
              bench.add(DType::kF32, transposed ? std::vector{kCols, rows} : std::vector{rows, kCols}));
        Source merged = bench.add(
            DType::kBF16, transposed ? std::vector{kCols, int64_t{87}} : std::vector{int64_t{87}, kCols});
        WeightStore store;
        store.declare("three", to, Layout::kPanels, 87, kCols);
        store.declare("one", to, Layout::kPanels, 87, kCols);
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

  test("gate and up interleaved by panels, weights and biases", [] {
    for (int64_t rows : {32, 45, 64, 65}) {
      for (Layout layout : {Layout::kRows, Layout::kPanels}) {
        for (int64_t cols : {1, 33}) {
          Bench bench;
          Source matrices[] = {bench.add(DType::kF16, {rows, cols}), bench.add(DType::kF16, {rows, cols})};
          int64_t stored = 2 * 32 * panel_count(rows);
          WeightStore store;
          store.declare("w", DType::kBF16, layout, stored, cols);
          LoadPart part;
          part.file = bench.file();
          part.panel_step = 2;
          part.rows = rows;
          std::vector<double> expected(static_cast<size_t>(stored * cols), NAN);
          for (int i : {1, 0}) {
            part.first_panel = i;
            part.source = &matrices[i].entry;
            CHECK(store.load("w", part, threads(2)));
            for (int64_t row = 0; row < rows; ++row)
              for (int64_t col = 0; col < cols; ++col)
                expected[static_cast<size_t>(((2 * (row / 32) + i) * 32 + row % 32) * cols + col)] =
                    at(matrices[i], false, row, col);
          }
          store.check_complete();
          CHECK(holds(store, "w", expected));
        }
      }
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
    for (DType to : kDTypes) {
      for (Layout layout : {Layout::kRows, Layout::kPanels}) {
        WeightStore store;
        store.declare("w", to, layout, 70, 9);
        std::vector<float> values;
        for (int i = 0; i < 630; ++i) values.push_back(static_cast<float>(random()) / 1e6f);
        CHECK(error_of([&] { store.load_values("w", values.data(), 629); }).kind == ErrorKind::kInvalidValue);
        store.load_values("w", values.data(), 630);
        store.check_complete();
        CHECK(holds(store, "w", {values.begin(), values.end()}));
        CHECK(error_of([&] { store.load_values("w", values.data(), 630); }).kind == ErrorKind::kInvalidValue);
      }
    }
  });
}

}  // namespace kvasir::test
