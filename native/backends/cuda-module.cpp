// The inner side of the border between the addon and the CUDA library: compiled into the library.

#include "backends/cuda-module.h"

#include <exception>
#include <new>
#include <string>

#include "types/error.h"

namespace kvasir::cuda {

ActivateCudaKernel activation;
AddCudaKernel add;
AdjustLogitsCudaKernel adjust_logits;
AdvanceCudaKernel advance;
AttentionCudaKernel attention;
EmbeddingCudaKernel embedding;
ExpertsCudaKernel experts;
GatherRowsCudaKernel gather_rows;
KvAppendCudaKernel kv_append;
LayerNormCudaKernel layer_norm;
LayerNormLinearCudaKernel layer_norm_linear;
LinearCudaKernel linear;
RmsNormCudaKernel rms_norm;
RmsNormLinearCudaKernel rms_norm_linear;
RopeCudaKernel rope;
RopeTableCudaKernel rope_table;
SampleCudaKernel sample;
ScaleCudaKernel scale;
SoftcapCudaKernel softcap;
SoftmaxCudaKernel softmax;
TopLogitsCudaKernel top_logits;

namespace {

struct LastError {
  ErrorKind kind = ErrorKind::kInternal;
  std::string message;
};
thread_local LastError last;

int failed(ErrorKind kind, const char* message) noexcept {
  last.kind = kind;
  try {
    last.message = message;
  } catch (...) {
    last.message.clear();
  }
  return 1;
}

template <typename F>
int guarded(const F& body) noexcept {
  try {
    body();
    return 0;
  } catch (const Error& error) {
    return failed(error.kind, error.what());
  } catch (const std::bad_alloc&) {
    return failed(ErrorKind::kOutOfMemory, "out of memory");
  } catch (const std::exception& error) {
    return failed(ErrorKind::kInternal, error.what());
  }
}

// A member function of `Object` as a function of the table.
template <auto kMember, typename Object, typename... Arguments>
int call(Object* object, Arguments... arguments) noexcept {
  return guarded([&] { (object->*kMember)(arguments...); });
}

template <auto& kKernel, typename... Params>
int enter(const Params&... params, Execution& execution) noexcept {
  return guarded([&] { kKernel(params..., execution); });
}

const char* last_error(int* kind) noexcept {
  *kind = static_cast<int>(last.kind);
  return last.message.c_str();
}

int begin_record(Stream* stream, Event* event) noexcept {
  return guarded([&] { stream->record(*event); });
}

const Module kModule = {
    kModuleVersion,
    sizeof(Module),
#if defined(KVASIR_CUDA_EMULATED)
    "cuda-emulated",
#else
    "cuda",
#endif
    last_error,
    [](int* count) noexcept { return guarded([&] { *count = device_count(); }); },
    [](int device, DeviceInfo* info) noexcept { return guarded([&] { *info = device_info(device); }); },
    [](int device, int64_t bytes, std::byte** memory) noexcept {
      return guarded([&] { *memory = allocate(device, bytes); });
    },
    [](int device, std::byte* memory) noexcept { return guarded([&] { release(device, memory); }); },
    [](int64_t bytes, std::byte** memory) noexcept {
      return guarded([&] { *memory = allocate_pinned(bytes); });
    },
    [](std::byte* memory) noexcept { return guarded([&] { release_pinned(memory); }); },
    [](int device, Stream** stream) noexcept { return guarded([&] { *stream = new Stream(device); }); },
    [](Stream* stream) noexcept { delete stream; },
    call<&Stream::copy_to_device, Stream>,
    call<&Stream::copy_to_host, Stream>,
    call<&Stream::copy_on_device, Stream>,
    call<&Stream::copy_pieces_to_device, Stream>,
    call<&Stream::fill, Stream>,
    call<&Stream::synchronize, Stream>,
    call<&Stream::begin_capture, Stream>,
    [](Stream* stream, Graph** graph) noexcept {
      return guarded([&] { *graph = stream->end_capture().release(); });
    },
    [](Stream* stream, const Graph* graph) noexcept { return guarded([&] { stream->launch(*graph); }); },
    [](Graph* graph) noexcept { delete graph; },
    [](int device, Event** event) noexcept { return guarded([&] { *event = new Event(device); }); },
    [](Event* event) noexcept { delete event; },
    begin_record,
    [](const Event* start, const Event* end, double* milliseconds) noexcept {
      return guarded([&] { *milliseconds = end->milliseconds_since(*start); });
    },
    {
        enter<activation, Activate>,
        enter<add, Add>,
        enter<adjust_logits, AdjustLogits>,
        enter<advance, Advance>,
        enter<attention, Attention>,
        enter<embedding, Embedding>,
        enter<experts, Experts>,
        enter<gather_rows, GatherRows>,
        enter<kv_append, KvAppend>,
        enter<layer_norm, LayerNorm>,
        enter<layer_norm_linear, LayerNorm, Linear>,
        enter<linear, Linear>,
        enter<rms_norm, RmsNorm>,
        enter<rms_norm_linear, RmsNorm, Linear>,
        enter<rope, Rope>,
        enter<rope_table, RopeTable>,
        enter<sample, Sample>,
        enter<scale, Scale>,
        enter<softcap, Softcap>,
        enter<softmax, Softmax>,
        enter<top_logits, TopLogits>,
    },
};

}  // namespace

}  // namespace kvasir::cuda

const kvasir::cuda::Module* kvasir_cuda_module(uint32_t version) noexcept {
  return version == kvasir::cuda::kModuleVersion ? &kvasir::cuda::kModule : nullptr;
}
