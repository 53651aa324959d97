#include "binding/classes.h"
#include "binding/convert.h"

namespace kvasir::binding {

BackendHandle::BackendHandle(const Napi::CallbackInfo& info) : Handle(info) {
  guarded(info.Env(), [&] {
    Napi::Object options = object_of(info[0], "Backend: options");
    int64_t threads = integer_of(options.Get("threads"), "Backend: threads", 1, 1024);
    Napi::Value isa = options.Get("isa");
    hold(std::make_shared<CpuBackend>(static_cast<int>(threads),
                                      isa.IsUndefined() ? std::string() : string_of(isa, "Backend: isa")));
  });
}

void BackendHandle::define(Napi::Env env, Napi::Object exports) {
  export_class(
      exports, kName,
      DefineClass(env, kName,
                  {property<&BackendHandle::isa>("isa"), property<&BackendHandle::threads>("threads"),
                   InstanceMethod("probeFma", &BackendHandle::probe_fma),
                   InstanceMethod("probeRead", &BackendHandle::probe_read),
                   InstanceMethod("dispose", &BackendHandle::dispose)}),
      env.GetInstanceData<AddonData>()->backend);
}

Napi::Value BackendHandle::isa(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] { return Napi::String::New(info.Env(), receiver(info)->isa()); });
}

Napi::Value BackendHandle::threads(const Napi::CallbackInfo& info) {
  return guarded(info.Env(),
                 [&] { return Napi::Number::New(info.Env(), receiver(info)->pool().num_threads()); });
}

Napi::Value BackendHandle::probe_fma(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] { return Napi::Number::New(info.Env(), native()->probe_fma()); });
}

Napi::Value BackendHandle::probe_read(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    int64_t bytes = integer_of(info[0], "probeRead: bytes", 1, int64_t{1} << 40);
    return Napi::Number::New(info.Env(), native()->probe_read(bytes));
  });
}

KvCacheHandle::KvCacheHandle(const Napi::CallbackInfo& info) : Handle(info) {
  guarded(info.Env(), [&] {
    Napi::Object options = object_of(info[0], "KvCache: options");
    Napi::Value list = options.Get("layers");
    if (!list.IsArray()) throw Error(ErrorKind::kInvalidType, "KvCache: layers must be an array");
    std::vector<KvLayerShape> layers;
    Napi::Array array = list.As<Napi::Array>();
    for (uint32_t i = 0; i < array.Length(); i++) {
      Napi::Object layer = object_of(array[i], "KvCache: layers[" + std::to_string(i) + "]");
      layers.push_back({integer_of(layer.Get("kvHeads"), "KvCache: kvHeads", 1, 4096),
                        integer_of(layer.Get("headSize"), "KvCache: headSize", 1, 256)});
    }
    int64_t num_blocks = integer_of(options.Get("numBlocks"), "KvCache: numBlocks", 1, 1 << 24);
    hold(std::make_shared<KvCache>(layers, num_blocks, dtype_of(options.Get("dtype"), "KvCache: dtype")));
  });
}

void KvCacheHandle::define(Napi::Env env, Napi::Object exports) {
  export_class(exports, kName,
               DefineClass(env, kName,
                           {property<&KvCacheHandle::bytes>("bytes"),
                            InstanceMethod("dispose", &KvCacheHandle::dispose)}),
               env.GetInstanceData<AddonData>()->cache);
}

Napi::Value KvCacheHandle::bytes(const Napi::CallbackInfo& info) {
  return guarded(info.Env(),
                 [&] { return Napi::Number::New(info.Env(), static_cast<double>(receiver(info)->bytes())); });
}

ProgramHandle::ProgramHandle(const Napi::CallbackInfo& info) : Handle(info) {
  guarded(info.Env(), [&] {
    std::shared_ptr<CpuBackend> backend = BackendHandle::of(info[0], "Program: backend");
    std::shared_ptr<WeightStore> store = StoreHandle::of(info[1], "Program: store");
    std::shared_ptr<KvCache> cache;
    if (!info[2].IsNull() && !info[2].IsUndefined()) cache = KvCacheHandle::of(info[2], "Program: cache");
    bool checked = !info[5].IsUndefined() && boolean_of(info[5], "Program: checked");
    hold(std::make_shared<Program>(program_of(info[3]), backend, store, cache, limits_of(info[4]), checked));
  });
}

void ProgramHandle::define(Napi::Env env, Napi::Object exports) {
  export_class(
      exports, kName,
      DefineClass(env, kName,
                  {InstanceMethod("run", &ProgramHandle::run), property<&ProgramHandle::bytes>("bytes"),
                   InstanceMethod("dispose", &ProgramHandle::dispose)}),
      env.GetInstanceData<AddonData>()->program);
}

Napi::Value ProgramHandle::run(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    // Getters may run, and detach a buffer, until all arrays are at hand.
    Arrays inputs = arrays_of(info[0], "run: inputs"), outputs = arrays_of(info[1], "run: outputs");
    bool finished = native()->run(input_spans(inputs), output_spans(outputs), flag_of(info[2], "run: abort"));
    return Napi::Boolean::New(info.Env(), finished);
  });
}

Napi::Value ProgramHandle::bytes(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    return Napi::Number::New(info.Env(), static_cast<double>(receiver(info)->arena_bytes()));
  });
}

}  // namespace kvasir::binding
