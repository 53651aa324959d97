#pragma once

#include <napi.h>

#include <memory>
#include <string>
#include <utility>

#include "binding/errors.h"

namespace kvasir::binding {

// A JavaScript object that keeps a native one alive until `dispose()` or garbage collection. The tag tells
// objects of this class from any other before they are unwrapped. `Self` derives from it and has `static
// constexpr napi_type_tag kTag` and `static constexpr const char* kName`.
template <typename Self, typename T>
class Handle : public Napi::ObjectWrap<Self> {
 public:
  explicit Handle(const Napi::CallbackInfo& info) : Napi::ObjectWrap<Self>(info) {
    info.This().template As<Napi::Object>().TypeTag(&Self::kTag);
  }

  // The native object behind `value`. Throws Error(kInvalidType) for anything else, Error(kDisposed) after
  // dispose().
  static std::shared_ptr<T> of(Napi::Value value, const std::string& where) {
    if (!value.IsObject() || !value.As<Napi::Object>().CheckTypeTag(&Self::kTag))
      throw Error(ErrorKind::kInvalidType, where + " must be a native " + Self::kName);
    return Self::Unwrap(value.As<Napi::Object>())->native();
  }

  std::shared_ptr<T> native() const {
    if (native_ == nullptr) throw Error(ErrorKind::kDisposed, std::string(Self::kName) + " is disposed");
    return native_;
  }

  void dispose(const Napi::CallbackInfo&) { native_.reset(); }

  // A read-only property. (The accessors that ObjectWrap makes take any receiver for one of their class,
  // which its methods do not.)
  template <Napi::PropertyDescriptor::GetterCallback kGet>
  static Napi::ClassPropertyDescriptor<Self> property(const char* name) {
    Napi::PropertyDescriptor accessor = Napi::PropertyDescriptor::Accessor<kGet>(name);
    return Napi::ClassPropertyDescriptor<Self>(accessor);
  }
  static std::shared_ptr<T> receiver(const Napi::CallbackInfo& info) {
    return of(info.This(), std::string(Self::kName) + ": the receiver");
  }

 protected:
  void hold(std::shared_ptr<T> native) { native_ = std::move(native); }

 private:
  std::shared_ptr<T> native_;
};

// Adds a class to the addon's exports and keeps its constructor.
inline void export_class(Napi::Object exports, const char* name, Napi::Function constructor,
                         Napi::FunctionReference& slot) {
  slot = Napi::Persistent(constructor);
  exports.Set(name, constructor);
}

}  // namespace kvasir::binding
