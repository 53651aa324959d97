#include "checkpoint/problem.h"
#include "checkpoint/safetensors.h"
#include "types/blocks.h"

namespace kvasir {

// A matrix in blocks is a tensor of bytes, (rows, bytes of a row), which other readers can take apart, too.
void name_blocked_tensors(SafetensorsFile& file) {
  constexpr std::string_view kPrefix = "kvasir.blocks:";
  for (const auto& [key, type] : file.metadata) {
    if (key.compare(0, kPrefix.size(), kPrefix) != 0) continue;
    const std::string name = key.substr(kPrefix.size());
    auto fail = [&](const char* field, const std::string& expected, const std::string& found) {
      throw_problem(ErrorKind::kFileFormat, {file.file.path(), name, field, expected, found});
    };
    if (type != "q8" && type != "q4") fail("__metadata__", "q8 or q4", quoted(type));
    const TensorEntry* found = file.find(name);
    if (found == nullptr) fail("__metadata__", "about a tensor of the file", quoted(key));
    TensorEntry& entry = file.tensors[static_cast<size_t>(found - file.tensors.data())];
    const int64_t bytes = block_bytes(type == "q8" ? DType::kQ8 : DType::kQ4);
    if (entry.dtype != "U8" || entry.shape.size() != 2 || entry.shape[1] % bytes != 0 || entry.shape[1] == 0)
      fail("shape", "(rows, whole blocks of " + std::to_string(bytes) + ") of U8",
           shape_text(entry.shape) + " of " + entry.dtype);
    entry.dtype = type == "q8" ? "Q8_0" : "Q4_1";
    entry.shape[1] = entry.shape[1] / bytes * kBlockColumns;
  }
}

}  // namespace kvasir
