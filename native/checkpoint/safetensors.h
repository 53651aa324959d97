#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "checkpoint/checkpoint-file.h"

namespace kvasir {

// An open safetensors file. https://huggingface.co/docs/safetensors
struct SafetensorsFile : CheckpointFile {
  using CheckpointFile::CheckpointFile;

  std::vector<std::pair<std::string, std::string>> metadata;
};

// Opens a file and checks its header: length, JSON, UTF-8, unique names, known dtypes, shapes that agree with
// the byte ranges, and byte ranges that cover the data without holes or overlaps. Reads the header alone, in
// pieces; takes tens of milliseconds and less than 64 MiB for any file. Throws Error: kFileNotFound,
// kFileFormat (a rule is broken), kFileTruncated (the file ends too early), kUnsupported (a dtype that the
// format does not have).
std::unique_ptr<SafetensorsFile> open_safetensors(const std::string& path);

// Gives the tensors that `kvasir convert` wrote in blocks their own type and shape: those for which the metadata has a key
// "kvasir.blocks:NAME", q8 or q4. They are then Q8_0 and Q4_1, as GGUF calls the same blocks. Throws Error(kFileFormat).
void name_blocked_tensors(SafetensorsFile& file);

}  // namespace kvasir
