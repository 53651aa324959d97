#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "platform/platform.h"
#include "types/error.h"

namespace kvasir::platform {

namespace {

[[noreturn]] void throw_file(ErrorKind kind, const std::string& path, const std::string& expected,
                             const std::string& found) {
  throw Error(kind, path + ": file must be " + expected + ", got " + found)
      .in_file(path)
      .in_field("file")
      .mismatch(expected, found);
}

const char* kind_of_file(mode_t mode) {
  if (S_ISDIR(mode)) return "a folder";
  if (S_ISFIFO(mode)) return "a FIFO";
  if (S_ISSOCK(mode)) return "a socket";
  if (S_ISCHR(mode) || S_ISBLK(mode)) return "a device";
  return "a file of another kind";
}

void check_regular(const std::string& path, const struct stat& status) {
  if (!S_ISREG(status.st_mode))
    throw_file(ErrorKind::kFileFormat, path, "a regular file", kind_of_file(status.st_mode));
}

int64_t modified_ns(const struct stat& status) {
  return static_cast<int64_t>(status.st_mtim.tv_sec) * 1'000'000'000 + status.st_mtim.tv_nsec;
}

}  // namespace

File::File(const std::string& path) : path_(path) {
  auto check = [&](int result) {
    if (result < 0)
      throw_file(ErrorKind::kFileNotFound, path, "readable", std::system_category().message(errno));
  };
  if (path.find('\0') != std::string::npos)
    throw_file(ErrorKind::kFileNotFound, path, "named without a zero byte", "one");
  // Looked at before it is opened, since opening a device may act on it, and again afterwards, since another
  // file may have taken its place. O_NONBLOCK: opening a FIFO would wait for a writer.
  struct stat status;
  check(stat(path.c_str(), &status));
  check_regular(path, status);
  descriptor_ = open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
  check(descriptor_);
  try {
    check(fstat(descriptor_, &status));
    check_regular(path, status);
  } catch (...) {
    close(descriptor_);
    throw;
  }
  size_ = static_cast<uint64_t>(status.st_size);
  device_ = status.st_dev;
  inode_ = status.st_ino;
  modified_ns_ = platform::modified_ns(status);
}

File::~File() { close(descriptor_); }

void File::read(uint64_t offset, void* destination, size_t bytes) const {
  if (offset > size_ || bytes > size_ - offset)
    throw_file(ErrorKind::kFileTruncated, path_,
               "at least " + std::to_string(offset) + " + " + std::to_string(bytes) + " bytes long",
               std::to_string(size_) + " bytes");
  char* out = static_cast<char*>(destination);
  while (bytes > 0) {
    ssize_t count = pread(descriptor_, out, bytes, static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0)
      throw_file(ErrorKind::kFileChanged, path_, "readable", std::system_category().message(errno));
    if (count == 0)  // it was long enough when it was opened
      throw_file(ErrorKind::kFileChanged, path_, std::to_string(size_) + " bytes long, as when it was opened",
                 "its end at " + std::to_string(offset));
    out += count;
    offset += static_cast<uint64_t>(count);
    bytes -= static_cast<size_t>(count);
  }
}

void File::check_unchanged() const {
  struct stat opened, named;
  bool same = fstat(descriptor_, &opened) == 0 && stat(path_.c_str(), &named) == 0 &&
              static_cast<uint64_t>(opened.st_size) == size_ &&
              platform::modified_ns(opened) == modified_ns_ && named.st_dev == device_ &&
              named.st_ino == inode_;
  if (!same) throw_file(ErrorKind::kFileChanged, path_, "left alone while it is read", "a change");
}

}  // namespace kvasir::platform
