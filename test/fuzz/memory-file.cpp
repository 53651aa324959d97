// platform::File over memory, in place of linux-file.cpp: a million inputs need not be a million files.

#include "memory-file.h"

#include <cstring>

#include "platform/platform.h"
#include "types/error.h"

namespace kvasir {

namespace {

const uint8_t* held = nullptr;
size_t held_size = 0;

}  // namespace

void fuzz::hold(const uint8_t* bytes, size_t size) {
  held = bytes;
  held_size = size;
}

namespace platform {

File::File(const std::string& path) : path_(path), size_(held_size) {}
File::~File() {}

void File::read(uint64_t offset, void* destination, size_t bytes) const {
  if (offset > size_ || bytes > size_ - offset) throw Error(ErrorKind::kFileTruncated, "file: too short");
  if (bytes > 0) std::memcpy(destination, held + offset, bytes);
}

void File::check_unchanged() const {}

}  // namespace platform

}  // namespace kvasir
