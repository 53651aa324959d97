#pragma once

#include <napi.h>

#include "backends/cpu.h"
#include "backends/cuda.h"
#include "binding/handle.h"
#include "checkpoint/checkpoint-file.h"
#include "checkpoint/store.h"
#include "runtime/kv-cache.h"
#include "runtime/program.h"

namespace kvasir::binding {

// new Backend({ device: 'cpu', threads, isa } | { device: 'cuda', threads, module, index }): one device's kernels
// with their threads.
class BackendHandle : public Handle<BackendHandle, Backend> {
 public:
  static constexpr napi_type_tag kTag = {0x6b76617369720001, 0x9d1c2f64a7c34b10};
  static constexpr const char* kName = "Backend";
  explicit BackendHandle(const Napi::CallbackInfo& info);
  static void define(Napi::Env env, Napi::Object exports);

 private:
  static Napi::Value isa(const Napi::CallbackInfo& info);
  static Napi::Value name(const Napi::CallbackInfo& info);
  static Napi::Value threads(const Napi::CallbackInfo& info);
  Napi::Value probe_arithmetic(const Napi::CallbackInfo& info);
  Napi::Value probe_read(const Napi::CallbackInfo& info);
  Napi::Value available_memory(const Napi::CallbackInfo& info);
  std::shared_ptr<CpuBackend> cpu() const;
};

// new KvCache(backend, { layers: [{ kvHeads, headSize }], numBlocks, dtype })
class KvCacheHandle : public Handle<KvCacheHandle, KvCache> {
 public:
  static constexpr napi_type_tag kTag = {0x6b76617369720002, 0x9d1c2f64a7c34b10};
  static constexpr const char* kName = "KvCache";
  explicit KvCacheHandle(const Napi::CallbackInfo& info);
  static void define(Napi::Env env, Napi::Object exports);

 private:
  static Napi::Value bytes(const Napi::CallbackInfo& info);
  void copy_blocks(const Napi::CallbackInfo& info);
};

// new Program(backend, store, cache | null, graph, limits, checked)
class ProgramHandle : public Handle<ProgramHandle, Program> {
 public:
  static constexpr napi_type_tag kTag = {0x6b76617369720003, 0x9d1c2f64a7c34b10};
  static constexpr const char* kName = "Program";
  explicit ProgramHandle(const Napi::CallbackInfo& info);
  static void define(Napi::Env env, Napi::Object exports);

 private:
  Napi::Value run(const Napi::CallbackInfo& info);
  Napi::Value run_ahead(const Napi::CallbackInfo& info);
  static Napi::Value bytes(const Napi::CallbackInfo& info);
};

// planMemory(backend, graph, limits, cache): { weightBytes, cacheBytes, activationBytes }
Napi::Value plan_memory(const Napi::CallbackInfo& info);

// new CheckpointFile(path): opens a safetensors or GGUF file and checks its header.
class CheckpointFileHandle : public Handle<CheckpointFileHandle, CheckpointFile> {
 public:
  static constexpr napi_type_tag kTag = {0x6b76617369720004, 0x9d1c2f64a7c34b10};
  static constexpr const char* kName = "CheckpointFile";
  explicit CheckpointFileHandle(const Napi::CallbackInfo& info);
  static void define(Napi::Env env, Napi::Object exports);

 private:
  static Napi::Value format(const Napi::CallbackInfo& info);
  Napi::Value tensors(const Napi::CallbackInfo& info);
  Napi::Value metadata(const Napi::CallbackInfo& info);
  Napi::Value array(const Napi::CallbackInfo& info);
  Napi::Value floats(const Napi::CallbackInfo& info);
};

// new WeightStore(): named tensors in the kernels' layouts.
class StoreHandle : public Handle<StoreHandle, WeightStore> {
 public:
  static constexpr napi_type_tag kTag = {0x6b76617369720005, 0x9d1c2f64a7c34b10};
  static constexpr const char* kName = "WeightStore";
  explicit StoreHandle(const Napi::CallbackInfo& info);
  static void define(Napi::Env env, Napi::Object exports);

 private:
  void declare(const Napi::CallbackInfo& info);
  Napi::Value load(const Napi::CallbackInfo& info);
  void load_values(const Napi::CallbackInfo& info);
  void check_complete(const Napi::CallbackInfo& info);
  Napi::Value copy_out(const Napi::CallbackInfo& info);
  Napi::Value copy_bytes(const Napi::CallbackInfo& info);
  static Napi::Value bytes(const Napi::CallbackInfo& info);
};

}  // namespace kvasir::binding
