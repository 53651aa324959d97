#include <napi.h>

#include "binding/classes.h"
#include "binding/errors.h"
#include "platform/platform.h"

namespace kvasir::binding {

namespace {

// initialize(makeError): how this environment makes its errors.
void initialize(const Napi::CallbackInfo& info) {
  if (!info[0].IsFunction())
    throw Napi::TypeError::New(info.Env(), "initialize: makeError must be a function");
  info.Env().GetInstanceData<AddonData>()->make_error = Napi::Persistent(info[0].As<Napi::Function>());
}

// cpuInfo(): { name, isas, processors, availableMemory }
Napi::Value cpu_info(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    Napi::Env env = info.Env();
    Napi::Object result = Napi::Object::New(env);
    Napi::Array isas = Napi::Array::New(env);
    for (const std::string& isa : runnable_isas()) isas.Set(isas.Length(), isa);
    result.Set("name", platform::cpu_name());
    result.Set("isas", isas);
    result.Set("processors", platform::available_processors());
    result.Set("availableMemory", static_cast<double>(platform::available_memory()));
    result.Set("blockTokens", static_cast<double>(kBlockTokens));
    return result;
  });
}

Napi::Object start(Napi::Env env, Napi::Object exports) {
  env.SetInstanceData(new AddonData());  // freed with the environment
  BackendHandle::define(env, exports);
  KvCacheHandle::define(env, exports);
  ProgramHandle::define(env, exports);
  SafetensorsHandle::define(env, exports);
  StoreHandle::define(env, exports);
  exports.Set("initialize", Napi::Function::New(env, initialize, "initialize"));
  exports.Set("cpuInfo", Napi::Function::New(env, cpu_info, "cpuInfo"));
  return exports;
}

}  // namespace

NODE_API_MODULE(kvasir, start)

}  // namespace kvasir::binding
