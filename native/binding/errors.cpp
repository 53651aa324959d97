#include "binding/errors.h"

namespace kvasir::binding {

namespace {

const char* code_of(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::kInvalidType:
      return "ERR_INVALID_ARG_TYPE";
    case ErrorKind::kInvalidValue:
      return "ERR_INVALID_ARG_VALUE";
    case ErrorKind::kShape:
      return "ERR_SHAPE";
    case ErrorKind::kDType:
      return "ERR_DTYPE";
    case ErrorKind::kFileFormat:
      return "ERR_FILE_FORMAT";
    case ErrorKind::kFileTruncated:
      return "ERR_FILE_TRUNCATED";
    case ErrorKind::kFileChanged:
      return "ERR_FILE_CHANGED";
    case ErrorKind::kFileNotFound:
      return "ERR_FILE_NOT_FOUND";
    case ErrorKind::kUnsupported:
      return "ERR_UNSUPPORTED";
    case ErrorKind::kDevice:
      return "ERR_DEVICE";
    case ErrorKind::kOutOfMemory:
      return "ERR_OUT_OF_MEMORY";
    case ErrorKind::kNumeric:
      return "ERR_NUMERIC";
    case ErrorKind::kDisposed:
      return "ERR_DISPOSED";
    case ErrorKind::kInternal:
      return "ERR_INTERNAL";
  }
  return "ERR_INTERNAL";
}

}  // namespace

void throw_error(Napi::Env env, const Error& error) {
  Napi::Object problem = Napi::Object::New(env);
  auto set = [&](const char* key, const std::string& text) {
    if (!text.empty()) problem.Set(key, text);
  };
  set("file", error.file);
  set("tensor", error.tensor);
  set("field", error.field);
  set("expected", error.expected);
  set("found", error.found);
  AddonData* data = env.GetInstanceData<AddonData>();
  if (data == nullptr || data->make_error.IsEmpty()) throw Napi::Error::New(env, error.what());
  Napi::Value made = data->make_error.Call(
      {Napi::String::New(env, code_of(error.kind)), Napi::String::New(env, error.what()), problem});
  throw Napi::Error(env, made);
}

}  // namespace kvasir::binding
