#pragma once

#include <napi.h>

#include <exception>
#include <new>

#include "types/error.h"

namespace kvasir::binding {

// What each environment (main thread, worker) has for itself: nothing native is shared between them.
struct AddonData {
  Napi::FunctionReference make_error;  // (code, message, problem) => Error, from lib/native/
  Napi::FunctionReference backend, cache, file, program, store;  // constructors
};

// Throws the JavaScript error of lib/errors.ts that `error` stands for.
[[noreturn]] void throw_error(Napi::Env env, const Error& error);

// Runs `body` and turns whatever it throws into a JavaScript error: the one place where the two worlds meet.
template <typename F>
auto guarded(Napi::Env env, const F& body) -> decltype(body()) {
  try {
    return body();
  } catch (const Napi::Error&) {
    throw;
  } catch (const Error& error) {
    throw_error(env, error);
  } catch (const std::bad_alloc&) {
    throw_error(env, Error(ErrorKind::kOutOfMemory, "out of memory"));
  } catch (const std::exception& error) {
    throw_error(env, Error(ErrorKind::kInternal, error.what()));
  }
}

}  // namespace kvasir::binding
