// Rows S1 to S5 of the malformed-file table (lengths, bytes, JSON, names): every class is refused with an
// Error of the right kind that names file, tensor or field, expected and found; and what the format allows is
// accepted.

#include "check.h"
#include "files.h"
#include "safetensors-reader.h"

namespace kvasir::test {
namespace {

void well_formed(Reader& reader) {
  test("a plain file: entries, metadata, offsets, lookup", [&] {
    std::string text = header({"\"__metadata__\":{\"format\":\"pt\",\"\":\"x\"}",
                               entry("b", "F16", "[2,3]", 4, 16), entry("a", "F32", "[1]", 0, 4)});
    auto file = reader.opens(text, 16);
    CHECK(file->tensors.size() == 2);
    CHECK(file->tensors[0].name == "b" && file->tensors[0].dtype == "F16");
    CHECK((file->tensors[0].shape == std::vector<int64_t>{2, 3}));
    CHECK(file->tensors[0].offset == 8 + text.size() + 4 && file->tensors[0].bytes == 12);
    CHECK(file->find("a") == &file->tensors[1]);
    CHECK(!file->find("c") && !file->find("") && !file->find("__metadata__"));
    CHECK(file->metadata.size() == 2 && file->metadata[0].first == "format" &&
          file->metadata[0].second == "pt");
  });

  test("no tensors, white space anywhere, padding, fields in any order", [&] {
    CHECK(reader.opens("{}", 0)->tensors.empty());
    CHECK(!reader.opens("{}", 0)->find("a"));
    CHECK(reader.opens("{ } ", 0)->tensors.empty());
    CHECK(reader.opens("{\"__metadata__\":{}}", 0)->metadata.empty());
    auto file = reader.opens(
        "{\n\t\"a\" :\r{ \"shape\" : [ 2 , 1 ] , \"data_offsets\" : [ 0 , 8 ] , \"dtype\" : \"F32\" } }   ",
        8);
    CHECK(file->tensors.size() == 1 && file->tensors[0].bytes == 8);
  });

  test("escapes and Unicode in names", [&] {
    auto file = reader.opens(header({entry("\\u0061\\n\\\"\\\\\\/\\b\\f\\r\\t", "U8", "[]", 0, 1),
                                     entry("\\ud83d\\ude00\\u00e9\\u20AC", "U8", "[]", 1, 2),
                                     entry("\xf0\x9f\x98\x80\xc3\xa9\xe2\x82\xac!", "U8", "[]", 2, 3),
                                     entry("\\u0000", "U8", "[]", 3, 4)}),
                             4);
    CHECK(file->find("a\n\"\\/\b\f\r\t"));
    CHECK(file->find("\xf0\x9f\x98\x80\xc3\xa9\xe2\x82\xac"));
    CHECK(file->find("\xf0\x9f\x98\x80\xc3\xa9\xe2\x82\xac!"));
    CHECK(file->find(std::string_view("\0", 1)));
  });

  test("names that a read's border cuts anywhere", [&] {
    std::string name;
    for (int i = 0; i < 1000; ++i) name += "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80";
    for (int shift = 0; shift < 24; ++shift) {  // the window has 64 KiB
      std::string value(65536 - 30 + static_cast<size_t>(shift), 'v');
      auto file = reader.opens("{\"__metadata__\":{\"k\":\"" + value + "\\ud83d\\ude00" + name + "\"}}", 0);
      CHECK(file->metadata[0].second == value + "\xf0\x9f\x98\x80" + name);
    }
  });
}

void s1_s2_lengths(Reader& reader) {
  test("S1 files of 0 to 8 bytes", [&] {
    for (size_t size = 0; size < 8; ++size) reader.refuses(std::string(size, '\0'), kFormat, "file");
    reader.refuses(std::string(8, '\0'), kFormat, "header length");
    reader.refuses(length_prefix(2), ErrorKind::kFileTruncated, "file");
  });

  test("S2 header lengths", [&] {
    auto length_of = [](uint64_t length) { return length_prefix(length) + "{}      "; };
    for (uint64_t length :
         {uint64_t{0}, uint64_t{1}, uint64_t{100'000'001}, (uint64_t{1} << 31) - 1, uint64_t{1} << 31,
          (uint64_t{1} << 31) + 1, (uint64_t{1} << 32) - 1, uint64_t{1} << 32, (uint64_t{1} << 32) + 1,
          (uint64_t{1} << 53) - 1, (uint64_t{1} << 53) + 1, uint64_t{1} << 63, UINT64_MAX, UINT64_MAX - 7,
          UINT64_MAX - 8})
      reader.refuses(length_of(length), kFormat, "header length");
    for (uint64_t length : {uint64_t{9}, uint64_t{100'000'000}})
      reader.refuses(length_of(length), ErrorKind::kFileTruncated, "file");
  });
}

void s3_bytes(Reader& reader) {
  test("S3 what stands before, in and after the JSON", [&] {
    std::string good = entry("a", "F32", "[1]", 0, 4);
    for (const char* start : {" {", "\n{", "\xef\xbb\xbf{", "[", "a", "\"", "1"})
      reader.refuses_header(start + good + "}", "header");
    reader.refuses_header(std::string("\0{", 2) + good + "}", "header");
    for (const char* end : {"}x", "}\n", "}  \t", "}{", "}}", "} }"})
      reader.refuses_header("{" + good + end, "header");
    reader.refuses_header("{" + good + "}" + std::string(1, '\0'), "header");
    for (const char* broken :
         {"{", "{,}", "{\"a\"}", "{\"a\":}", "{\"a\",", "{1:2}", "{'a':1}", "{\"a\"=1}", "{\"a"})
      CHECK(error_of([&] { reader.opens(broken, 0); }).kind == kFormat);
    reader.refuses_header("{" + good + ",}", "a tensor's name");
    reader.refuses_header("{" + good + " " + good + "}", "header");
  });

  test("S3 invalid UTF-8, control characters and escapes in names", [&] {
    for (const char* bad : {"\x80",
                            "\xbf",
                            "\xc0\x80",
                            "\xc1\xbf",
                            "\xc3",
                            "\xc3(",
                            "\xe0\x80\x80",
                            "\xe0\x9f\xbf",
                            "\xe2\x82",
                            "\xe2(\xa1",
                            "\xed\xa0\x80",
                            "\xed\xbf\xbf",
                            "\xf0\x80\x80\x80",
                            "\xf0\x8f\xbf\xbf",
                            "\xf0\x9f\x98",
                            "\xf4\x90\x80\x80",
                            "\xf5\x80\x80\x80",
                            "\xff",
                            "\xfe",
                            "\x01",
                            "\n",
                            "\t",
                            "\x1f",
                            "\\x",
                            "\\u12",
                            "\\u12g4",
                            "\\ud800",
                            "\\ud800x",
                            "\\ud800\\n",
                            "\\ud800\\u0041",
                            "\\ud800\\ud800",
                            "\\udc00",
                            "\\U0041"}) {
      for (const std::string& pad : {std::string(), std::string("long enough for whole words ")}) {
        write_file(reader.path(), safetensors(header({entry(pad + bad + pad, "F32", "[1]", 0, 4)}), 4));
        Error error = error_of([&] { open_safetensors(reader.path()); });
        if (!CHECK(error.kind == kFormat && error.field == "a tensor's name" && !error.found.empty()))
          std::printf("    %s\n", error.what());
      }
    }
    reader.refuses_header("{\"a" + std::string(1, '\0') + "\":1}", "a tensor's name");
  });
}

void s4_extremes(Reader& reader) {
  test("S4 nesting of any depth, anywhere", [&] {
    for (size_t depth : {size_t{100}, size_t{10'000}, size_t{1'000'000}}) {
      reader.refuses_header(repeat("[", depth), "header");
      reader.refuses_header(repeat("{\"a\":", depth), "entry", "a");
      reader.refuses_header("{\"a\":" + repeat("[", depth), "entry", "a");
      reader.refuses_header("{\"a\":{\"dtype\":" + repeat("[", depth), "dtype", "a");
      reader.refuses_header("{\"a\":{\"shape\":" + repeat("[", depth), "shape", "a");
      reader.refuses_header("{\"__metadata__\":" + repeat("{\"a\":", depth), "__metadata__");
    }
  });

  test("S4 too many, too long", [&] {
    std::string many = "{";
    for (int i = 0; i < 1'000'000; ++i)
      many += (i ? "," : "") +
              entry(std::to_string(i), "U8", "[]", static_cast<uint64_t>(i), static_cast<uint64_t>(i) + 1);
    reader.refuses(safetensors(many + "}", 1'000'000), kFormat, "header");
    std::string pairs = "{\"__metadata__\":{";
    for (int i = 0; i < 1'000'000; ++i) pairs += (i ? ",\"" : "\"") + std::to_string(i) + "\":\"\"";
    reader.refuses(safetensors(pairs + "}}"), kFormat, "__metadata__");
    for (size_t size : {size_t{4097}, size_t{1'000'000}})
      reader.refuses_header(header({entry(std::string(size, 'k'), "U8", "[1]", 0, 1)}), "a tensor's name", "",
                            1);
    CHECK(reader.opens(header({entry(std::string(4096, 'k'), "U8", "[1]", 0, 1)}), 1)->tensors.size() == 1);
    reader.refuses_header("{\"a\":{\"" + std::string(1000, 'f') + "\":1}}", "entry", "a");
    reader.refuses_header("{\"__metadata__\":{\"a\":\"" + std::string(5'000'000, 'v') + "\"}}",
                          "__metadata__");
  });

  test("S4 headers of 100,000,000 bytes", [&] {
    constexpr size_t kSize = 100'000'000;
    CHECK(reader.opens("{}" + std::string(kSize - 2, ' '), 0)->tensors.empty());
    reader.refuses_header("{}" + std::string(kSize - 3, ' ') + "x", "header");
    reader.refuses_header("{" + std::string(kSize - 2, ' ') + "}", "header");
    reader.refuses_header("{\"a\":{\"dtype\"" + repeat("\n\t", kSize / 2 - 100), "dtype", "a");
    reader.refuses_header("{\"" + std::string(kSize - 2, 'k'), "a tensor's name");
  });

  test("S4 numbers", [&] {
    for (const char* number : {"1e999",
                               "-1",
                               "-0",
                               "1.5",
                               "1.0",
                               "1e0",
                               "\"1\"",
                               "01",
                               "00",
                               "9007199254740992",
                               "18446744073709551616",
                               "99999999999999999999999999",
                               "true",
                               "null",
                               "NaN",
                               "+1",
                               "0x1",
                               "[]",
                               "{}",
                               "",
                               ","}) {
      std::string n = number;
      reader.refuses_header("{\"a\":{\"dtype\":\"F32\",\"shape\":[" + n + ",1],\"data_offsets\":[0,4]}}",
                            "shape", "a");
      if (n == ",") continue;
      reader.refuses_header("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[" + n + ",4]}}",
                            "data_offsets", "a");
      reader.refuses_header("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0," + n + "]}}",
                            "data_offsets", "a");
    }
    reader.refuses_header("{\"a\":{\"dtype\":\"F32\",\"shape\":[" + std::string(1'000'000, '9') + "]",
                          "shape", "a");
    reader.refuses_header("{\"a\":{\"dtype\":\"F32\",\"shape\":[" + std::string(1'000'000, '0') + "]",
                          "shape", "a");
  });
}

void s5_duplicates(Reader& reader) {
  test("S5 a name twice, in whatever spelling", [&] {
    reader.refuses_header(header({entry("a", "U8", "[4]", 0, 4), entry("a", "U8", "[0]", 4, 4)}), "name",
                          "a");
    reader.refuses_header(header({entry("a", "U8", "[4]", 0, 4), entry("\\u0061", "U8", "[0]", 4, 4)}),
                          "name", "a");
    reader.refuses_header(header({entry("\xc3\xa9", "U8", "[4]", 0, 4), entry("\\u00E9", "U8", "[0]", 4, 4)}),
                          "name", "\xc3\xa9");
    // Two forms of one character are two names: nothing here folds them.
    CHECK(reader.opens(header({entry("\xc3\xa9", "U8", "[4]", 0, 4), entry("e\xcc\x81", "U8", "[0]", 4, 4)}),
                       4));
    std::vector<std::string> names;
    for (uint64_t i = 0; i < 3000; ++i)
      names.push_back(entry("layer." + std::to_string(i % 2999), "U8", "[1]", i, i + 1));
    reader.refuses_header(header(names), "name", "layer.0", 3000);
  });

  test("S5 a field or the metadata twice", [&] {
    std::string tail = "\"shape\":[1],\"data_offsets\":[0,4]}}";
    reader.refuses_header("{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\"," + tail, "dtype", "a");
    reader.refuses_header("{\"a\":{\"dtype\":\"F32\",\"d\\u0074ype\":\"F32\"," + tail, "dtype", "a");
    reader.refuses_header("{\"a\":{\"dtype\":\"F32\",\"shape\":[1]," + tail, "shape", "a");
    reader.refuses_header("{\"a\":{\"data_offsets\":[0,4],\"dtype\":\"F32\"," + tail, "data_offsets", "a");
    reader.refuses_header("{\"__metadata__\":{},\"__metadata__\":{}}", "__metadata__", "", 0);
    reader.refuses_header("{\"__metadata__\":{},\"\\u005f_metadata__\":{}}", "__metadata__", "", 0);
    reader.refuses_header("{\"__metadata__\":{\"k\":\"1\",\"k\":\"2\"}}", "__metadata__", "", 0);
    reader.refuses_header("{\"__metadata__\":{\"k\":1}}", "__metadata__", "", 0);
    reader.refuses_header("{\"__metadata__\":[]}", "__metadata__", "", 0);
  });

  test("S5 a field missing, unknown or of the wrong type", [&] {
    reader.refuses_header("{\"a\":{}}", "dtype", "a");
    reader.refuses_header("{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", "shape", "a");
    reader.refuses_header("{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", "data_offsets", "a");
    reader.refuses_header("{\"a\":{\"scale\":1,\"dtype\":\"F32\"}}", "entry", "a");
    for (const char* value : {"1", "null", "[]", "\"x\"", "true"})
      reader.refuses_header("{\"a\":" + std::string(value) + "}", "entry", "a");
    reader.refuses_header("{\"a\":{\"dtype\":1}}", "dtype", "a");
    reader.refuses_header("{\"a\":{\"shape\":{}}}", "shape", "a");
    for (const char* offsets : {"[]", "[0]", "[0,4,8]", "{}", "0"})
      reader.refuses_header(
          "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":" + std::string(offsets) + "}}",
          "data_offsets", "a");
  });
}

}  // namespace

void safetensors_tests() {
  Reader reader;
  well_formed(reader);
  s1_s2_lengths(reader);
  s3_bytes(reader);
  s4_extremes(reader);
  s5_duplicates(reader);
}

}  // namespace kvasir::test
