#include <algorithm>

#include <cstring>

#include "binding/classes.h"
#include "binding/convert.h"
#include "checkpoint/gguf.h"
#include "checkpoint/problem.h"
#include "checkpoint/safetensors.h"

namespace kvasir::binding {

namespace {

// A store's loop on a backend's threads.
ParallelFor parallel_on(ThreadPool& pool) {
  return [&pool](int64_t items, const std::function<void(int64_t, int64_t)>& body) {
    struct Loop {
      const std::function<void(int64_t, int64_t)>& body;
      int64_t items, chunks;
    } loop{body, items, std::min<int64_t>(items, 64 * pool.num_threads())};
    pool.run(
        loop.chunks,
        [](void* argument, int64_t chunk, int) {
          const Loop& l = *static_cast<const Loop*>(argument);
          l.body(l.items * chunk / l.chunks, l.items * (chunk + 1) / l.chunks);
        },
        &loop, nullptr);
  };
}

LoadPart part_of(Napi::Object from, const CheckpointFile& file) {
  LoadPart part;
  std::string name = string_of(from.Get("tensor"), "load: tensor");
  part.file = &file.file;
  part.source = file.find(name);
  if (part.source == nullptr) throw Error(ErrorKind::kInvalidValue, "load: the file has no tensor " + name);
  part.transposed = boolean_of(from.Get("transposed"), "load: transposed");
  const std::vector<int64_t>& shape = part.source->shape;
  if (shape.empty() || shape.size() > 2)
    throw Error(ErrorKind::kFileFormat, "load: tensor " + name + " must have one or two dimensions");
  part.rows = part.transposed && shape.size() == 2 ? shape[1] : shape[0];
  part.row_offset = integer_of(from.Get("rowOffset"), "load: rowOffset", 0, int64_t{1} << 40);
  Napi::Value paired = from.Get("pairedRows");
  if (!paired.IsUndefined()) part.paired_rows = integer_of(paired, "load: pairedRows", 2, 1 << 20);
  Napi::Value rows = from.Get("rows");
  if (!rows.IsUndefined()) {
    const int64_t most = int64_t{1} << 40;
    Napi::Object chosen = object_of(rows, "load: rows");
    part.source_rows = part.rows;
    part.source_row_offset = integer_of(chosen.Get("first"), "load: rows.first", 0, most);
    part.rows = integer_of(chosen.Get("count"), "load: rows.count", 1, most);
    part.run_rows = integer_of(chosen.Get("run"), "load: rows.run", 1, most);
    part.run_stride = integer_of(chosen.Get("stride"), "load: rows.stride", 1, most);
    if (part.run_rows >= part.rows) part.run_rows = part.run_stride = 0;
  }
  Napi::Value filled = from.Get("filledRows");
  if (!filled.IsUndefined()) part.filled_rows = integer_of(filled, "load: filledRows", 1, int64_t{1} << 40);
  Napi::Value addend = from.Get("addend");
  if (!addend.IsUndefined()) part.addend = static_cast<float>(number_of(addend, "load: addend"));
  Napi::Value interleave = from.Get("interleave");
  if (!interleave.IsUndefined()) {
    part.panel_step = 2;
    part.first_panel = integer_of(interleave, "load: interleave", 0, 1);
  }
  return part;
}

}  // namespace

CheckpointFileHandle::CheckpointFileHandle(const Napi::CallbackInfo& info) : Handle(info) {
  guarded(info.Env(), [&] {
    hold(std::shared_ptr<CheckpointFile>(open_checkpoint_file(string_of(info[0], "CheckpointFile: path"))));
  });
}

void CheckpointFileHandle::define(Napi::Env env, Napi::Object exports) {
  export_class(exports, kName,
               DefineClass(env, kName,
                           {InstanceMethod("tensors", &CheckpointFileHandle::tensors),
                            InstanceMethod("metadata", &CheckpointFileHandle::metadata),
                            InstanceMethod("array", &CheckpointFileHandle::array),
                            InstanceMethod("floats", &CheckpointFileHandle::floats),
                            property<&CheckpointFileHandle::format>("format"),
                            InstanceMethod("dispose", &CheckpointFileHandle::dispose)}),
               env.GetInstanceData<AddonData>()->file);
}

Napi::Value CheckpointFileHandle::tensors(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    Napi::Env env = info.Env();
    std::shared_ptr<CheckpointFile> file = native();
    Napi::Array list = Napi::Array::New(env, file->tensors.size());
    for (uint32_t i = 0; i < file->tensors.size(); i++) {
      const TensorEntry& tensor = file->tensors[i];
      Napi::Object entry = Napi::Object::New(env);
      Napi::Array shape = Napi::Array::New(env, tensor.shape.size());
      for (uint32_t d = 0; d < tensor.shape.size(); d++) shape.Set(d, static_cast<double>(tensor.shape[d]));
      entry.Set("name", tensor.name);
      entry.Set("dtype", tensor.dtype);
      entry.Set("shape", shape);
      entry.Set("bytes", static_cast<double>(tensor.bytes));
      list.Set(i, entry);
    }
    return list;
  });
}

Napi::Value CheckpointFileHandle::format(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    const bool gguf = dynamic_cast<const GgufFile*>(receiver(info).get()) != nullptr;
    return Napi::String::New(info.Env(), gguf ? "gguf" : "safetensors");
  });
}

namespace {

Napi::Value value_of(Napi::Env env, const GgufValue& value) {
  if (value.is_array) {
    Napi::Object array = Napi::Object::New(env);
    array.Set("elements", value.type == GgufValueType::kString ? "string" : "number");
    array.Set("length", static_cast<double>(value.count));
    return array;
  }
  if (value.type == GgufValueType::kString) return Napi::String::New(env, value.text);
  if (value.type == GgufValueType::kBool) return Napi::Boolean::New(env, value.number != 0);
  return Napi::Number::New(env, value.number);
}

}  // namespace

Napi::Value CheckpointFileHandle::metadata(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    Napi::Env env = info.Env();
    Napi::Object result = Napi::Object::New(env);
    const std::shared_ptr<CheckpointFile> file = native();
    const auto define = [&](const std::string& key, Napi::Value value) {
      result.DefineProperty(Napi::PropertyDescriptor::Value(key, value, napi_default_jsproperty));
    };
    if (const auto* safetensors = dynamic_cast<const SafetensorsFile*>(file.get()))
      for (const auto& [key, text] : safetensors->metadata) define(key, Napi::String::New(env, text));
    if (const auto* gguf = dynamic_cast<const GgufFile*>(file.get()))
      for (const auto& [key, value] : gguf->metadata) define(key, value_of(env, value));
    return result;
  });
}

Napi::Value CheckpointFileHandle::array(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    Napi::Env env = info.Env();
    const std::string key = string_of(info[0], "array: key");
    const std::shared_ptr<CheckpointFile> file = native();
    const auto* gguf = dynamic_cast<const GgufFile*>(file.get());
    const GgufValue* value = gguf != nullptr ? gguf->find_value(key) : nullptr;
    if (value == nullptr || !value->is_array)
      throw Error(ErrorKind::kInvalidValue, "array: the file has no array " + key);
    if (value->type != GgufValueType::kString) {
      const std::vector<double> numbers = gguf->numbers(key, *value);
      Napi::Float64Array array = Napi::Float64Array::New(env, numbers.size());
      std::copy(numbers.begin(), numbers.end(), array.Data());
      return array;
    }
    const std::vector<std::string> strings = gguf->strings(key, *value);
    Napi::Array array = Napi::Array::New(env, strings.size());
    for (uint32_t i = 0; i < strings.size(); i++) {
      Napi::HandleScope scope(env);
      array.Set(i, Napi::String::New(env, strings[i]));
    }
    return array;
  });
}

Napi::Value CheckpointFileHandle::floats(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    constexpr uint64_t kMostBytes = 1 << 20;
    const std::string name = string_of(info[0], "floats: tensor");
    const std::shared_ptr<CheckpointFile> file = native();
    const TensorEntry* tensor = file->find(name);
    if (tensor == nullptr || tensor->dtype != "F32" || tensor->bytes > kMostBytes)
      throw_problem(ErrorKind::kFileFormat, {file->file.path(), name, "type", "F32 and small",
                                             tensor == nullptr ? "no tensor" : tensor->dtype});
    Napi::Float32Array numbers =
        Napi::Float32Array::New(info.Env(), static_cast<size_t>(tensor->bytes / sizeof(float)));
    file->file.read(tensor->offset, numbers.Data(), static_cast<size_t>(tensor->bytes));
    return numbers;
  });
}

StoreHandle::StoreHandle(const Napi::CallbackInfo& info) : Handle(info) {
  guarded(info.Env(), [&] {
    hold(info[0].IsUndefined() ? std::make_shared<WeightStore>()
                               : std::make_shared<WeightStore>(
                                     BackendHandle::of(info[0], "WeightStore: backend")->weight_memory()));
  });
}

void StoreHandle::define(Napi::Env env, Napi::Object exports) {
  export_class(
      exports, kName,
      DefineClass(
          env, kName,
          {InstanceMethod("declare", &StoreHandle::declare), InstanceMethod("load", &StoreHandle::load),
           InstanceMethod("loadValues", &StoreHandle::load_values),
           InstanceMethod("checkComplete", &StoreHandle::check_complete),
           InstanceMethod("copyOut", &StoreHandle::copy_out),
           InstanceMethod("copyBytes", &StoreHandle::copy_bytes), property<&StoreHandle::bytes>("bytes"),
           InstanceMethod("dispose", &StoreHandle::dispose)}),
      env.GetInstanceData<AddonData>()->store);
}

void StoreHandle::declare(const Napi::CallbackInfo& info) {
  guarded(info.Env(), [&] {
    Napi::Object tensor = object_of(info[0], "declare: tensor");
    native()->declare(string_of(tensor.Get("name"), "declare: name"),
                      dtype_of(tensor.Get("dtype"), "declare: dtype"),
                      layout_of(tensor.Get("layout"), "declare: layout"),
                      integer_of(tensor.Get("rows"), "declare: rows", 1, int64_t{1} << 40),
                      integer_of(tensor.Get("cols"), "declare: cols", 1, int64_t{1} << 40));
  });
}

Napi::Value StoreHandle::load(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    std::string name = string_of(info[0], "load: name");
    Napi::Object from = object_of(info[1], "load: part");
    std::shared_ptr<CheckpointFile> file = CheckpointFileHandle::of(from.Get("file"), "load: file");
    std::shared_ptr<Backend> backend = BackendHandle::of(info[2], "load: backend");
    LoadPart part = part_of(from, *file);
    bool finished = native()->load(name, part, parallel_on(backend->pool()), flag_of(info[3], "load: abort"));
    return Napi::Boolean::New(info.Env(), finished);
  });
}

void StoreHandle::load_values(const Napi::CallbackInfo& info) {
  guarded(info.Env(), [&] {
    std::string name = string_of(info[0], "loadValues: name");
    if (!info[1].IsTypedArray() || info[1].As<Napi::TypedArray>().TypedArrayType() != napi_float32_array)
      throw Error(ErrorKind::kInvalidType, "loadValues: values must be a Float32Array");
    Napi::Float32Array values = info[1].As<Napi::Float32Array>();
    native()->load_values(name, values.Data(), static_cast<int64_t>(values.ElementLength()));
  });
}

void StoreHandle::check_complete(const Napi::CallbackInfo& info) {
  guarded(info.Env(), [&] { native()->check_complete(); });
}

Napi::Value StoreHandle::copy_out(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    std::string name = string_of(info[0], "copyOut: name");
    const StoredTensor& tensor = native()->get(name);
    Napi::Float32Array values = Napi::Float32Array::New(
        info.Env(), static_cast<size_t>(tensor.rows) * static_cast<size_t>(tensor.cols));
    native()->copy_out(name, values.Data());
    return values;
  });
}

Napi::Value StoreHandle::copy_bytes(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    const StoredTensor& tensor = native()->get(string_of(info[0], "copyBytes: name"));
    if (tensor.layout != Layout::kRows || !tensor.memory->host_addressable())
      throw Error(ErrorKind::kInvalidValue, "copyBytes: the weight must lie in rows in the host's memory");
    Napi::Uint8Array bytes = Napi::Uint8Array::New(info.Env(), tensor.bytes);
    std::memcpy(bytes.Data(), tensor.data, tensor.bytes);
    return bytes;
  });
}

Napi::Value StoreHandle::bytes(const Napi::CallbackInfo& info) {
  return guarded(info.Env(),
                 [&] { return Napi::Number::New(info.Env(), static_cast<double>(receiver(info)->bytes())); });
}

}  // namespace kvasir::binding
