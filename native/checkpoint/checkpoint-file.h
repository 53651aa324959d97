#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/name-index.h"
#include "platform/platform.h"

namespace kvasir {

// A tensor as a checkpoint file holds it.
struct TensorEntry {
  std::string name;
  std::string dtype;           // as the format calls it: "F32", "F16", "BF16", "I64", "Q4_K", ...
  std::vector<int64_t> shape;  // row-major
  uint64_t offset;             // of its first byte in the file
  uint64_t bytes;
};

// An open file whose header was found to keep every rule of its format.
struct CheckpointFile {
  explicit CheckpointFile(const std::string& path) : file(path) {}
  virtual ~CheckpointFile() = default;

  platform::File file;
  std::vector<TensorEntry> tensors;  // in the header's order; names are unique

  // The tensor of that name, or null.
  const TensorEntry* find(std::string_view name) const;
  // Indexes `tensors`. Returns the first that has an earlier one's name, or null.
  const TensorEntry* index_names();

 private:
  NameIndex names_;
};

// Opens a file of either format, by its first bytes: see open_gguf and open_safetensors, and what they throw.
std::unique_ptr<CheckpointFile> open_checkpoint_file(const std::string& path);

}  // namespace kvasir
