#include "checkpoint/checkpoint-file.h"

#include <cstring>

#include "checkpoint/gguf.h"
#include "checkpoint/safetensors.h"

namespace kvasir {

const TensorEntry* CheckpointFile::find(std::string_view name) const {
  const uint32_t i = names_.find(name, [&](uint32_t place) { return std::string_view(tensors[place].name); });
  return i == NameIndex::kNone ? nullptr : &tensors[i];
}

const TensorEntry* CheckpointFile::index_names() {
  names_.reset(tensors.size());
  for (uint32_t i = 0; i < tensors.size(); ++i)
    if (names_.add(i, [&](uint32_t place) { return std::string_view(tensors[place].name); }) !=
        NameIndex::kNone)
      return &tensors[i];
  return nullptr;
}

std::unique_ptr<CheckpointFile> open_checkpoint_file(const std::string& path) {
  char magic[4] = {};
  {
    const platform::File file(path);
    if (file.size() >= sizeof magic) file.read(0, magic, sizeof magic);
  }
  if (std::memcmp(magic, kGgufMagic, sizeof magic) == 0) return open_gguf(path);
  return open_safetensors(path);
}

}  // namespace kvasir
