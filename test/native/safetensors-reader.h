#pragma once

// What the tests of the safetensors reader share: files of any bytes, and what is expected of them.

#include <memory>
#include <string>

#include "check.h"
#include "checkpoint/safetensors.h"
#include "files.h"

namespace kvasir::test {

constexpr ErrorKind kFormat = ErrorKind::kFileFormat;

class Reader {
 public:
  // Refused, with everything a user needs; `tensor` and `field` as given.
  void refuses(const std::string& bytes, ErrorKind kind, const std::string& field,
               const std::string& tensor = "") {
    write_file(path_, bytes);
    Error error = error_of([&] { open_safetensors(path_); });
    bool right = error.kind == kind && error.file == path_ && error.field == field &&
                 error.tensor == tensor && !error.expected.empty() && !error.found.empty();
    if (!CHECK(right))
      std::printf("    kind %d, field '%s', tensor '%.40s': %s\n", static_cast<int>(error.kind),
                  error.field.c_str(), error.tensor.c_str(), error.what());
  }
  void refuses_header(const std::string& header, const std::string& field, const std::string& tensor = "",
                      uint64_t data_bytes = 4, ErrorKind kind = kFormat) {
    refuses(safetensors(header, data_bytes), kind, field, tensor);
  }
  std::unique_ptr<SafetensorsFile> opens(const std::string& header, uint64_t data_bytes) {
    write_file(path_, safetensors(header, data_bytes));
    return open_safetensors(path_);
  }
  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return folder_ / name; }

 private:
  Folder folder_;
  std::string path_ = folder_ / "model.safetensors";
};

inline std::string repeat(const std::string& text, size_t times) {
  std::string out;
  out.reserve(text.size() * times);
  for (size_t i = 0; i < times; ++i) out += text;
  return out;
}

}  // namespace kvasir::test
