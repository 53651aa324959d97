#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "checkpoint/checkpoint-file.h"

namespace kvasir {

constexpr char kGgufMagic[4] = {'G', 'G', 'U', 'F'};

enum class GgufValueType : uint32_t {
  kU8,
  kI8,
  kU16,
  kI16,
  kU32,
  kI32,
  kF32,
  kBool,
  kString,
  kArray,
  kU64,
  kI64,
  kF64,
};

// A value of the metadata. Arrays stay in the file until they are asked for: vocabularies have megabytes.
struct GgufValue {
  GgufValueType type = GgufValueType::kU8;  // of the value, or of an array's elements
  bool is_array = false;
  double number = 0;              // of numbers and booleans; beyond 2^53 the nearest one
  std::string text;               // of strings
  uint64_t offset = 0;            // in the file, of an array's first element
  uint64_t count = 1, bytes = 0;  // of an array
};

// An open GGUF file, version 2 or 3, whose header was found to keep every rule of the format.
// https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
//
// Shapes are row-major as elsewhere: the file's dimensions in reverse.
struct GgufFile : CheckpointFile {
  using CheckpointFile::CheckpointFile;

  uint32_t version = 0;
  std::vector<std::pair<std::string, GgufValue>> metadata;  // in the file's order; keys are unique

  // The value, or null.
  const GgufValue* find_value(std::string_view key) const;

  // The elements of an array of numbers or booleans, or of strings. Throw Error: kFileFormat (a boolean that is
  // neither 0 nor 1, a string that is no UTF-8), kInvalidValue (an array of the other kind), kFileChanged.
  std::vector<double> numbers(const std::string& key, const GgufValue& array) const;
  std::vector<std::string> strings(const std::string& key, const GgufValue& array) const;
};

// Opens a file and checks its header: version, counts, every length and offset, unique UTF-8 names, known types,
// whole blocks, and data that lies inside the file, aligned and without overlaps. Reads the header alone, in
// pieces, keeping less than 64 MiB. Throws Error: kFileNotFound, kFileFormat (a rule is broken), kFileTruncated (the file
// ends too early), kUnsupported (another version, big-endian, a removed or unknown type, arrays of arrays).
std::unique_ptr<GgufFile> open_gguf(const std::string& path);

}  // namespace kvasir
