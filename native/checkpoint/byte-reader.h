#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>

#include "checkpoint/problem.h"
#include "platform/platform.h"

namespace kvasir {

// Reads a file forward through a window. Nothing is taken before it is known to be there.
class ByteReader {
 public:
  explicit ByteReader(const platform::File& file, uint64_t begin = 0) : file_(file), at_(begin) {}

  uint64_t at() const { return at_; }
  uint64_t left() const { return file_.size() - at_; }

  // Throws unless so many bytes follow.
  void need(uint64_t bytes, const std::string& tensor, const std::string& field) const {
    if (bytes > left())
      throw_problem(ErrorKind::kFileTruncated,
                    {file_.path(), tensor, field, "inside the file",
                     std::to_string(bytes) + " bytes at byte " + std::to_string(at_) + " of " +
                         std::to_string(file_.size())});
  }

  template <typename T>
  T take(const std::string& tensor, const std::string& field) {
    need(sizeof(T), tensor, field);
    T value;  // little-endian, as the processors this is built for
    std::memcpy(&value, window(sizeof(T)), sizeof(T));
    at_ += sizeof(T);
    return value;
  }

  std::string take_text(uint64_t bytes, const std::string& tensor, const std::string& field) {
    need(bytes, tensor, field);
    std::string text(static_cast<size_t>(bytes), '\0');
    if (bytes <= kWindow) {
      std::memcpy(text.data(), window(bytes), static_cast<size_t>(bytes));
    } else {
      file_.read(at_, text.data(), static_cast<size_t>(bytes));
    }
    at_ += bytes;
    return text;
  }

  void pass(uint64_t bytes, const std::string& tensor, const std::string& field) {
    need(bytes, tensor, field);
    at_ += bytes;
  }

 private:
  static constexpr uint64_t kWindow = 256 << 10;

  // `bytes` of the file from at_, which are there.
  const char* window(uint64_t bytes) {
    if (at_ < begin_ || at_ + bytes > begin_ + size_) {
      if (!window_) window_.reset(new char[kWindow]);
      size_ = std::min(kWindow, left());
      begin_ = at_;
      file_.read(begin_, window_.get(), static_cast<size_t>(size_));
    }
    return window_.get() + (at_ - begin_);
  }

  const platform::File& file_;
  uint64_t at_, begin_ = 0, size_ = 0;
  std::unique_ptr<char[]> window_;
};

}  // namespace kvasir
