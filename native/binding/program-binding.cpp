#include "binding/classes.h"
#include "binding/convert.h"
#include "checkpoint/weight-memory.h"
#include "platform/platform.h"

namespace kvasir::binding {

namespace {

std::shared_ptr<Backend> make_backend(Napi::Object options) {
  const int threads = static_cast<int>(integer_of(options.Get("threads"), "Backend: threads", 1, 1024));
  auto text_or_empty = [&](const char* name) {
    Napi::Value value = options.Get(name);
    return value.IsUndefined() ? std::string() : string_of(value, std::string("Backend: ") + name);
  };
  const std::string device = text_or_empty("device");
  if (device.empty() || device == "cpu") return std::make_shared<CpuBackend>(threads, text_or_empty("isa"));
  if (device != "cuda")
    throw Error(ErrorKind::kInvalidValue, "Backend: device must be cpu or cuda, got " + device);
  const cuda::Availability found = cuda::find_module(text_or_empty("module"));
  if (!found.reason.empty()) throw Error(ErrorKind::kDevice, "cuda: " + found.reason);
  Napi::Value index = options.Get("index");
  const int64_t place = index.IsUndefined() ? 0 : integer_of(index, "Backend: index", 0, 1023);
  if (place >= found.devices)
    throw Error(ErrorKind::kDevice, "cuda: there are " + std::to_string(found.devices) +
                                        " devices, got number " + std::to_string(place));
  return std::make_shared<CudaBackend>(*found.module, static_cast<int>(place), threads);
}

}  // namespace

BackendHandle::BackendHandle(const Napi::CallbackInfo& info) : Handle(info) {
  guarded(info.Env(), [&] { hold(make_backend(object_of(info[0], "Backend: options"))); });
}

void BackendHandle::define(Napi::Env env, Napi::Object exports) {
  export_class(exports, kName,
               DefineClass(env, kName,
                           {property<&BackendHandle::isa>("isa"), property<&BackendHandle::name>("name"),
                            property<&BackendHandle::threads>("threads"),
                            InstanceMethod("probeArithmetic", &BackendHandle::probe_arithmetic),
                            InstanceMethod("probeRead", &BackendHandle::probe_read),
                            InstanceMethod("availableMemory", &BackendHandle::available_memory),
                            InstanceMethod("dispose", &BackendHandle::dispose)}),
               env.GetInstanceData<AddonData>()->backend);
}

// The instruction set, or the compute capability.
Napi::Value BackendHandle::isa(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    std::shared_ptr<Backend> backend = receiver(info);
    if (auto* cpu = dynamic_cast<CpuBackend*>(backend.get()))
      return Napi::String::New(info.Env(), cpu->isa());
    auto& cuda = dynamic_cast<CudaBackend&>(*backend);
    return Napi::String::New(info.Env(), "sm_" + std::to_string(cuda.device().info().architecture));
  });
}

Napi::Value BackendHandle::name(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    std::shared_ptr<Backend> backend = receiver(info);
    auto* cuda = dynamic_cast<CudaBackend*>(backend.get());
    return Napi::String::New(info.Env(), cuda != nullptr ? cuda->device().info().name : platform::cpu_name());
  });
}

Napi::Value BackendHandle::threads(const Napi::CallbackInfo& info) {
  return guarded(info.Env(),
                 [&] { return Napi::Number::New(info.Env(), receiver(info)->pool().num_threads()); });
}

std::shared_ptr<CpuBackend> BackendHandle::cpu() const {
  std::shared_ptr<CpuBackend> backend = std::dynamic_pointer_cast<CpuBackend>(native());
  if (backend == nullptr) throw Error(ErrorKind::kInvalidValue, "probe: only the CPU has probes");
  return backend;
}

Napi::Value BackendHandle::probe_arithmetic(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    const std::string type = string_of(info[0], "probeArithmetic: type");
    if (type != "f32" && type != "bf16" && type != "int8")
      throw Error(ErrorKind::kInvalidValue, "probeArithmetic: type must be f32, bf16 or int8, got " + type);
    const Arithmetic arithmetic = type == "int8"   ? Arithmetic::kInt8
                                  : type == "bf16" ? Arithmetic::kBF16
                                                   : Arithmetic::kF32;
    return Napi::Number::New(info.Env(), cpu()->probe_arithmetic(arithmetic));
  });
}

Napi::Value BackendHandle::probe_read(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    int64_t bytes = integer_of(info[0], "probeRead: bytes", 1, int64_t{1} << 40);
    return Napi::Number::New(info.Env(), cpu()->probe_read(bytes));
  });
}

Napi::Value BackendHandle::available_memory(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    return Napi::Number::New(info.Env(), static_cast<double>(native()->weight_memory()->available()));
  });
}

namespace {

std::shared_ptr<KvCache> make_cache(std::shared_ptr<Backend> backend, Napi::Value from, bool planned_only) {
  Napi::Object options = object_of(from, "KvCache: options");
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
  return std::make_shared<KvCache>(std::move(backend), layers, num_blocks,
                                   dtype_of(options.Get("dtype"), "KvCache: dtype"), planned_only);
}

}  // namespace

KvCacheHandle::KvCacheHandle(const Napi::CallbackInfo& info) : Handle(info) {
  guarded(info.Env(), [&] {
    std::shared_ptr<Backend> backend = BackendHandle::of(info[0], "KvCache: backend");
    hold(make_cache(std::move(backend), info[1], false));
  });
}

void KvCacheHandle::define(Napi::Env env, Napi::Object exports) {
  export_class(exports, kName,
               DefineClass(env, kName,
                           {property<&KvCacheHandle::bytes>("bytes"),
                            InstanceMethod("copyBlocks", &KvCacheHandle::copy_blocks),
                            InstanceMethod("dispose", &KvCacheHandle::dispose)}),
               env.GetInstanceData<AddonData>()->cache);
}

Napi::Value KvCacheHandle::bytes(const Napi::CallbackInfo& info) {
  return guarded(info.Env(),
                 [&] { return Napi::Number::New(info.Env(), static_cast<double>(receiver(info)->bytes())); });
}

void KvCacheHandle::copy_blocks(const Napi::CallbackInfo& info) {
  guarded(info.Env(), [&] {
    const Napi::Value pairs = info[0];
    if (!pairs.IsTypedArray() || pairs.As<Napi::TypedArray>().TypedArrayType() != napi_int32_array)
      throw Error(ErrorKind::kInvalidType, "copyBlocks: pairs must be an Int32Array");
    const Napi::Int32Array array = pairs.As<Napi::Int32Array>();
    if (array.ElementLength() % 2 != 0)
      throw Error(ErrorKind::kInvalidValue, "copyBlocks: pairs must have an even number of entries, got " +
                                                std::to_string(array.ElementLength()));
    native()->copy_blocks(array.Data(), static_cast<int64_t>(array.ElementLength() / 2));
  });
}

ProgramHandle::ProgramHandle(const Napi::CallbackInfo& info) : Handle(info) {
  guarded(info.Env(), [&] {
    std::shared_ptr<Backend> backend = BackendHandle::of(info[0], "Program: backend");
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
      DefineClass(
          env, kName,
          {InstanceMethod("run", &ProgramHandle::run), InstanceMethod("runAhead", &ProgramHandle::run_ahead),
           property<&ProgramHandle::bytes>("bytes"), InstanceMethod("dispose", &ProgramHandle::dispose)}),
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

Napi::Value ProgramHandle::run_ahead(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    Arrays inputs = arrays_of(info[0], "runAhead: inputs"), outputs = arrays_of(info[2], "runAhead: outputs");
    const int64_t count = integer_of(info[1], "runAhead: count", 1, 1 << 20);
    std::map<std::string, OutputSpan> spans = output_spans(outputs);
    const int64_t done = native()->run_ahead(input_spans(inputs), count, spans["ids"], spans["logprobs"],
                                             flag_of(info[3], "runAhead: abort"));
    return Napi::Number::New(info.Env(), static_cast<double>(done));
  });
}

Napi::Value ProgramHandle::bytes(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    return Napi::Number::New(info.Env(), static_cast<double>(receiver(info)->arena_bytes()));
  });
}

Napi::Value plan_memory(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    std::shared_ptr<Backend> backend = BackendHandle::of(info[0], "planMemory: backend");
    const std::shared_ptr<KvCache> cache = make_cache(backend, info[3], true);
    const Program::MemoryNeeds needs =
        Program::plan(program_of(info[1]), *backend, cache.get(), limits_of(info[2]));
    Napi::Object result = Napi::Object::New(info.Env());
    result.Set("weightBytes", static_cast<double>(needs.weights));
    result.Set("cacheBytes", static_cast<double>(needs.cache));
    result.Set("activationBytes", static_cast<double>(needs.activations));
    return result;
  });
}

}  // namespace kvasir::binding
