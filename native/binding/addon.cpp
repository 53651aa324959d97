#include <napi.h>

#include "binding/classes.h"
#include "binding/convert.h"
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

// cudaInfo(module): { reason, devices: [{ name, architecture, multiprocessors, memory, freeMemory, driver }] };
// `reason` says why there are none.
Napi::Value cuda_info(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    Napi::Env env = info.Env();
    const std::string path = info[0].IsUndefined() ? std::string() : string_of(info[0], "cudaInfo: module");
    cuda::Availability found = cuda::find_module(path);
    Napi::Array devices = Napi::Array::New(env);
    for (int i = 0; i < found.devices; i++) {
      cuda::DeviceInfo device{};
      cuda::check(*found.module, found.module->device_info(i, &device));
      Napi::Object entry = Napi::Object::New(env);
      entry.Set("name", device.name);
      entry.Set("architecture", device.architecture);
      entry.Set("multiprocessors", device.multiprocessors);
      entry.Set("memory", static_cast<double>(device.memory_bytes));
      entry.Set("freeMemory", static_cast<double>(device.free_bytes));
      entry.Set("driver", device.driver_version);
      devices.Set(devices.Length(), entry);
    }
    Napi::Object result = Napi::Object::New(env);
    result.Set("reason", found.reason);
    result.Set("devices", devices);
    return result;
  });
}

Napi::Object start(Napi::Env env, Napi::Object exports) {
  env.SetInstanceData(new AddonData());  // freed with the environment
  BackendHandle::define(env, exports);
  KvCacheHandle::define(env, exports);
  ProgramHandle::define(env, exports);
  CheckpointFileHandle::define(env, exports);
  StoreHandle::define(env, exports);
  exports.Set("initialize", Napi::Function::New(env, initialize, "initialize"));
  exports.Set("cpuInfo", Napi::Function::New(env, cpu_info, "cpuInfo"));
  exports.Set("planMemory", Napi::Function::New(env, plan_memory, "planMemory"));
  exports.Set("cudaInfo", Napi::Function::New(env, cuda_info, "cudaInfo"));
  return exports;
}

}  // namespace

NODE_API_MODULE(kvasir, start)

}  // namespace kvasir::binding
