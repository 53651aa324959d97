#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "checkpoint/name-index.h"
#include "platform/platform.h"

namespace kvasir {

// A tensor as a checkpoint file holds it.
struct TensorEntry {
  std::string name;
  std::string dtype;  // as in the file: "F32", "F16", "BF16", "I64", ...
  std::vector<int64_t> shape;
  uint64_t offset;  // of its first byte in the file
  uint64_t bytes;
};

// An open safetensors file whose header was found to keep every rule of the format.
// https://huggingface.co/docs/safetensors
struct SafetensorsFile {
  explicit SafetensorsFile(const std::string& path) : file(path) {}

  platform::File file;
  std::vector<TensorEntry> tensors;  // in the header's order; names are unique
  std::vector<std::pair<std::string, std::string>> metadata;

  // The tensor of that name, or null.
  const TensorEntry* find(std::string_view name) const;

  NameIndex names;  // of `tensors`
};

// Opens a file and checks its header: length, JSON, UTF-8, unique names, known dtypes, shapes that agree with
// the byte ranges, and byte ranges that cover the data without holes or overlaps. Reads the header alone, in
// pieces; takes tens of milliseconds and less than 64 MiB for any file. Throws Error: kFileNotFound,
// kFileFormat (a rule is broken), kFileTruncated (the file ends too early), kUnsupported (a dtype that the
// format does not have).
std::unique_ptr<SafetensorsFile> open_safetensors(const std::string& path);

}  // namespace kvasir
