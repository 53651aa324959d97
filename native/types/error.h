#pragma once

#include <stdexcept>
#include <string>
#include <utility>

namespace kvasir {

// What went wrong, as the `code` that JavaScript sees. native/binding/errors.cpp turns each into its class.
enum class ErrorKind {
  kInvalidType,    // TypeError, ERR_INVALID_ARG_TYPE
  kInvalidValue,   // RangeError, ERR_INVALID_ARG_VALUE
  kShape,          // ShapeError, ERR_SHAPE
  kDType,          // DTypeError, ERR_DTYPE
  kFileFormat,     // CheckpointError, ERR_FILE_FORMAT
  kFileTruncated,  // CheckpointError, ERR_FILE_TRUNCATED
  kFileChanged,    // CheckpointError, ERR_FILE_CHANGED
  kFileNotFound,   // CheckpointError, ERR_FILE_NOT_FOUND
  kUnsupported,    // CheckpointError, ERR_UNSUPPORTED
  kDevice,         // DeviceError, ERR_DEVICE
  kOutOfMemory,    // OutOfMemoryError, ERR_OUT_OF_MEMORY
  kNumeric,        // NumericError, ERR_NUMERIC
  kDisposed,       // DisposedError, ERR_DISPOSED
  kInternal,       // KvasirError, ERR_INTERNAL
};

// The only exception that native code throws. For files, `file`, `tensor`, `field`, `expected` and `found`
// say what was wrong; empty strings are left out.
class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& message) : std::runtime_error(message), kind(kind) {}

  Error&& in_file(std::string name) && {
    file = std::move(name);
    return std::move(*this);
  }
  Error&& in_tensor(std::string name) && {
    tensor = std::move(name);
    return std::move(*this);
  }
  Error&& in_field(std::string name) && {
    field = std::move(name);
    return std::move(*this);
  }
  Error&& mismatch(std::string want, std::string have) && {
    expected = std::move(want);
    found = std::move(have);
    return std::move(*this);
  }

  ErrorKind kind;
  std::string file, tensor, field, expected, found;
};

}  // namespace kvasir
