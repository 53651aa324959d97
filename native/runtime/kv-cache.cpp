#include "runtime/kv-cache.h"

#include <algorithm>
#include <string>

#include "runtime/backend.h"
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

KvCache::KvCache(std::shared_ptr<Backend> backend, const std::vector<KvLayerShape>& layers,
                 int64_t num_blocks, DType dtype, bool planned_only)
    : backend_(std::move(backend)), num_blocks_(num_blocks) {
  const DeviceRules& rules = backend_->rules();
  if (std::find(rules.caches.begin(), rules.caches.end(), dtype) == rules.caches.end()) {
    std::string known;
    for (DType type : rules.caches) known += (known.empty() ? "" : " or ") + std::string(name_of(type));
    throw Error(ErrorKind::kDType, "KvCache: dtype must be " + known + ", got " + name_of(dtype));
  }
  check_range("num_blocks", num_blocks, kMaxBlocks);
  if (layers.size() > kMaxLayers) check_range("layers", static_cast<int64_t>(layers.size()), kMaxLayers);
  // The bounds above keep one layer below 2^47 bytes; the sum is checked as it grows.
  for (const KvLayerShape& shape : layers) {
    check_range("kv_heads", shape.kv_heads, kMaxHeads);
    check_range("head_size", shape.head_size, kMaxHeadSize);
    KvCacheLayer layer{nullptr, num_blocks, shape.kv_heads, shape.head_size, dtype, rules.key_layout};
    layers_.push_back(layer);
    if (__builtin_add_overflow(bytes_, num_blocks * layer.block_bytes(), &bytes_) || bytes_ > int64_t{1}
                                                                                                  << 46)
      throw Error(ErrorKind::kOutOfMemory, "KvCache: more than 64 TiB asked for");
  }
  if (bytes_ == 0 || planned_only) return;
  memory_ = backend_->allocate(bytes_);
  std::byte* next = memory_;
  for (KvCacheLayer& layer : layers_) {
    layer.data = next;
    next += num_blocks * layer.block_bytes();
  }
}

void KvCache::copy_blocks(const int32_t* pairs, int64_t count) {
  auto fail = [](int64_t at, const std::string& expected, int32_t found) {
    throw Error(ErrorKind::kInvalidValue, "copyBlocks: pairs[" + std::to_string(at) + "] must be " +
                                              expected + ", got " + std::to_string(found));
  };
  for (int64_t i = 0; i < 2 * count; i++)
    if (pairs[i] < 0 || pairs[i] >= num_blocks_)
      fail(i, "from 0 to " + std::to_string(num_blocks_ - 1), pairs[i]);
  for (int64_t i = 0; i < count; i++)
    if (pairs[2 * i] == pairs[2 * i + 1]) fail(2 * i + 1, "another block", pairs[2 * i + 1]);
  for (int64_t i = 0; i < count; i++)
    for (const KvCacheLayer& layer : layers_)
      backend_->copy(layer.keys(pairs[2 * i + 1], 0), layer.keys(pairs[2 * i], 0), layer.block_bytes());
}

KvCache::~KvCache() { backend_->release(memory_, bytes_); }

}  // namespace kvasir
