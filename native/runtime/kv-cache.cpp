#include "runtime/kv-cache.h"

#include <string>

#include "platform/platform.h"
#include "types/error.h"

namespace kvasir {

namespace {

constexpr int64_t kMaxLayers = 4096, kMaxHeads = 4096, kMaxHeadSize = 256, kMaxBlocks = 1 << 24;

void check_range(const char* what, int64_t value, int64_t most) {
  if (value < 1 || value > most)
    throw Error(ErrorKind::kInvalidValue, std::string("KvCache: ") + what + " must be from 1 to " +
                                              std::to_string(most) + ", got " + std::to_string(value));
}

}  // namespace

KvCache::KvCache(const std::vector<KvLayerShape>& layers, int64_t num_blocks, DType dtype)
    : num_blocks_(num_blocks) {
  if (dtype != DType::kF32 && dtype != DType::kBF16)
    throw Error(ErrorKind::kDType, std::string("KvCache: dtype must be f32 or bf16, got ") + name_of(dtype));
  check_range("num_blocks", num_blocks, kMaxBlocks);
  if (layers.size() > kMaxLayers) check_range("layers", static_cast<int64_t>(layers.size()), kMaxLayers);
  // The bounds above keep one layer below 2^47 bytes; the sum is checked as it grows.
  for (const KvLayerShape& shape : layers) {
    check_range("kv_heads", shape.kv_heads, kMaxHeads);
    check_range("head_size", shape.head_size, kMaxHeadSize);
    KvCacheLayer layer{nullptr, num_blocks, shape.kv_heads, shape.head_size, dtype};
    layers_.push_back(layer);
    if (__builtin_add_overflow(bytes_, num_blocks * layer.block_bytes(), &bytes_) || bytes_ > int64_t{1}
                                                                                                  << 46)
      throw Error(ErrorKind::kOutOfMemory, "KvCache: more than 64 TiB asked for");
  }
  if (bytes_ == 0) return;
  memory_ = platform::reserve_pages(static_cast<size_t>(bytes_));
  std::byte* next = static_cast<std::byte*>(memory_);
  for (KvCacheLayer& layer : layers_) {
    layer.data = next;
    next += num_blocks * layer.block_bytes();
  }
}

KvCache::~KvCache() {
  if (memory_ != nullptr) platform::release_pages(memory_, static_cast<size_t>(bytes_));
}

}  // namespace kvasir
