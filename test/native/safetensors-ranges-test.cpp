// Rows S6, S7, S8, S11 and S14 of the malformed-file table: byte ranges, shapes, dtypes, truncation and files
// that are none.

#include <filesystem>

#include "check.h"
#include "faults.h"
#include "files.h"
#include "safetensors-reader.h"

namespace kvasir::test {
namespace {

void s6_ranges(Reader& reader) {
  auto two = [](uint64_t b0, uint64_t e0, uint64_t b1, uint64_t e1) {
    auto shape = [](uint64_t begin, uint64_t end) { return "[" + std::to_string(end - begin) + "]"; };
    return header({entry("a", "U8", shape(b0, e0), b0, e0), entry("b", "U8", shape(b1, e1), b1, e1)});
  };
  test("S6 ranges that do not cover the data", [&, two] {
    reader.refuses_header(header({entry("a", "F32", "[1]", 4, 0)}), "data_offsets", "a");
    reader.refuses_header(two(0, 4, 5, 8), "data_offsets", "b", 8);                    // a hole
    reader.refuses_header(two(1, 4, 4, 8), "data_offsets", "a", 8);                    // at the start
    reader.refuses_header(two(0, 4, 4, 8), "file", "", 9);                             // at the end
    reader.refuses_header(two(0, 4, 4, 8), "file", "", 7, ErrorKind::kFileTruncated);  // past the end
    reader.refuses_header(two(0, 4, 3, 8), "data_offsets", "b", 8);                    // an overlap
    reader.refuses_header(two(0, 4, 0, 4), "data_offsets", "b", 4);                    // the same range
    reader.refuses_header(two(0, 8, 2, 6), "data_offsets", "b", 8);                    // one inside another
    reader.refuses_header(two(0, 8, 4, 4), "data_offsets", "b", 8);  // empty, inside another
    reader.refuses_header(two(0, 4, 9, 9), "data_offsets", "b", 4);  // empty, outside
    reader.refuses_header("{}", "file", "", 1);
    uint64_t most = (uint64_t{1} << 53) - 1;
    reader.refuses_header(two(0, 4, 4, most), "file", "", 8, ErrorKind::kFileTruncated);
    reader.refuses_header(two(0, most, most, most), "file", "", 8, ErrorKind::kFileTruncated);
    reader.refuses_header(two(most, most, 0, 4), "data_offsets", "a", 4);
  });

  test("S6 any order, and empty tensors between others", [&, two] {
    CHECK(reader.opens(two(4, 8, 0, 4), 8)->tensors.size() == 2);
    CHECK(reader.opens(two(0, 4, 4, 4), 4)->tensors.size() == 2);
    CHECK(reader.opens(two(0, 4, 0, 0), 4)->tensors.size() == 2);
    CHECK(reader.opens(two(0, 0, 0, 0), 0)->tensors.size() == 2);
    CHECK(reader.opens(header({entry("c", "U8", "[2]", 4, 6), entry("e", "U8", "[0]", 4, 4),
                               entry("f", "U8", "[0]", 4, 4), entry("a", "U8", "[4]", 0, 4)}),
                       6));
  });
}

void s7_s8_shapes(Reader& reader) {
  test("S7 products that overflow, at every rank", [&] {
    for (int rank = 2; rank <= 8; ++rank) {
      int64_t size = int64_t{1} << (64 / rank + 1);
      std::string shape = "[" + std::to_string(size);
      for (int i = 1; i < rank; ++i) shape += "," + std::to_string(size);
      reader.refuses_header(header({entry("a", "U8", shape + "]", 0, 4)}), "shape", "a");
      reader.refuses_header(header({entry("a", "U8", shape + ",0]", 0, 0)}), "shape", "a", 0);
    }
    // elements fit, bits do not
    reader.refuses_header(header({entry("a", "F64", "[1152921504606846976]", 0, 8)}), "shape", "a", 8);
    reader.refuses_header(header({entry("a", "F64", "[2147483648,536870912]", 0, 8)}), "shape", "a", 8);
    reader.refuses_header(header({entry("a", "F64", "[2147483648,134217727]", 0, 8)}), "data_offsets", "a",
                          8);
  });

  test("S7 a range that is not the shape's size, by one byte", [&] {
    for (uint64_t end : {uint64_t{23}, uint64_t{25}, uint64_t{0}})
      reader.refuses_header(header({entry("a", "F32", "[2,3]", 0, end)}), "data_offsets", "a", end);
    reader.refuses_header(header({entry("a", "F32", "[]", 0, 0)}), "data_offsets", "a", 0);
    reader.refuses_header(header({entry("a", "F32", "[0]", 0, 4)}), "data_offsets", "a", 4);
  });

  test("S7 ranks and empty dimensions", [&] {
    CHECK(reader.opens(header({entry("a", "F32", "[]", 0, 4)}), 4)->tensors[0].shape.empty());
    CHECK(reader.opens(header({entry("a", "F32", "[3,0,5]", 0, 0)}), 0)->tensors[0].bytes == 0);
    std::string ones = "[1" + repeat(",1", 15);
    CHECK(reader.opens(header({entry("a", "F32", ones + "]", 0, 4)}), 4)->tensors[0].shape.size() == 16);
    reader.refuses_header(header({entry("a", "F32", ones + ",1]", 0, 4)}), "shape", "a");
    reader.refuses_header(header({entry("a", "F32", "[1" + repeat(",1", 99'999) + "]", 0, 4)}), "shape", "a");
  });

  test("S8 dtypes: all of the format's, and no others", [&] {
    std::vector<std::pair<std::string, uint64_t>> sixteen = {
        {"BOOL", 16},        {"U8", 16},          {"I8", 16},      {"F8_E5M2", 16}, {"F8_E4M3", 16},
        {"F8_E5M2FNUZ", 16}, {"F8_E4M3FNUZ", 16}, {"F8_E8M0", 16}, {"I16", 32},     {"U16", 32},
        {"F16", 32},         {"BF16", 32},        {"I32", 64},     {"U32", 64},     {"F32", 64},
        {"I64", 128},        {"U64", 128},        {"F64", 128},    {"C64", 128},    {"F4", 8},
        {"F6_E2M3", 12},     {"F6_E3M2", 12}};
    for (const auto& [dtype, bytes] : sixteen)
      CHECK(reader.opens(header({entry("a", dtype, "[4,4]", 0, bytes)}), bytes)->tensors[0].dtype == dtype);
    for (const char* dtype : {"F33", "f32", "F32 ", "", "FLOAT", "Q4_0", "F3"})
      reader.refuses_header(header({entry("a", dtype, "[1]", 0, 4)}), "dtype", "a", 4,
                            ErrorKind::kUnsupported);
    reader.refuses_header(header({entry("a", std::string(1000, 'F'), "[1]", 0, 4)}), "dtype", "a");
  });

  test("S8 half bytes are refused, odd offsets are not", [&] {
    reader.refuses_header(header({entry("a", "F4", "[3]", 0, 2)}), "shape", "a", 2);
    reader.refuses_header(header({entry("a", "F6_E2M3", "[3]", 0, 2)}), "shape", "a", 2);
    CHECK(reader.opens(header({entry("a", "U8", "[3]", 0, 3), entry("b", "F32", "[1]", 3, 7)}), 7)
              ->tensors.size() == 2);
  });
}

void s11_s14_files(Reader& reader) {
  std::vector<std::string> entries;
  for (uint64_t i = 0; i < 200; ++i)
    entries.push_back(entry("layers." + std::to_string(i), "F32", "[8,8]", i * 256, i * 256 + 256));
  std::string whole = safetensors(header(entries), 200 * 256);

  test("S11 truncated anywhere", [&] {
    CHECK(whole.size() > 15 * 4096);
    for (size_t size = 4096; size < whole.size(); size += 4096)
      reader.refuses(whole.substr(0, size), ErrorKind::kFileTruncated, "file");
    for (size_t size : {size_t{8}, size_t{9}, size_t{100}, whole.size() - 1})
      reader.refuses(whole.substr(0, size), ErrorKind::kFileTruncated, "file");
  });

  test("S14 reads that are interrupted or short go on, at every read", [&] {
    std::string big =
        "{\"__metadata__\":{\"k\":\"" + std::string(300'000, 'v') + "\"}," + header(entries).substr(1);
    write_file(reader.path(), safetensors(big, 200 * 256));
    for (Fault fault : {Fault::kInterrupted, Fault::kShort}) {
      for (int64_t at = 0;; ++at) {
        inject(fault, at);
        auto file = open_safetensors(reader.path());
        CHECK(file->tensors.size() == 200);
        if (reads_since_inject() <= at) break;
      }
    }
  });

  test("S14 an input error or a sudden end, at every read", [&] {
    for (Fault fault : {Fault::kInputError, Fault::kEnd}) {
      for (int64_t at = 0;; ++at) {
        inject(fault, at);
        Error error = error_of([&] { open_safetensors(reader.path()); });
        if (reads_since_inject() <= at) break;
        CHECK(error.kind == ErrorKind::kFileChanged && error.file == reader.path());
      }
    }
  });

  test("S14 a sparse file of 1 TB, of zeros and with a header", [&] {
    std::error_code too_large;
    auto sparse = [&](const std::string& start) {
      write_file(reader.path(), start);
      std::filesystem::resize_file(reader.path(), uintmax_t{1} << 40, too_large);
    };
    sparse("");
    if (too_large) return;  // not on every file system
    CHECK(error_of([&] { open_safetensors(reader.path()); }).kind == kFormat);
    sparse(length_prefix(100'000'000) + "{\"");
    CHECK(error_of([&] { open_safetensors(reader.path()); }).kind == kFormat);
    uint64_t data = (uint64_t{1} << 40) - 8 - 80;
    std::string text = header({entry("a", "U8", "[" + std::to_string(data) + "]", 0, data)});
    sparse(safetensors(text + std::string(80 - text.size(), ' ')));
    CHECK(open_safetensors(reader.path())->tensors[0].bytes == data);
  });

  test("S14 what is no file at all", [&] {
    CHECK(error_of([&] { open_safetensors("/dev/zero"); }).kind == kFormat);
    CHECK(error_of([&] { open_safetensors(reader / "."); }).kind == kFormat);
    CHECK(error_of([&] { open_safetensors(reader / "missing"); }).kind == ErrorKind::kFileNotFound);
  });
}

}  // namespace

void safetensors_ranges_tests() {
  Reader reader;
  s6_ranges(reader);
  s7_s8_shapes(reader);
  s11_s14_files(reader);
}

}  // namespace kvasir::test
