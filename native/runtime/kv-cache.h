#pragma once

#include <memory>
#include <vector>

#include "kernels/kv-append/kv-cache.h"

namespace kvasir {

// The heads of one attention layer's keys and values.
struct KvLayerShape {
  int64_t kv_heads, head_size;
};

class Backend;

// Owns the paged KV cache of all layers, in the device's memory: `num_blocks` blocks of kBlockTokens positions in
// each.
class KvCache {
 public:
  // `planned_only`: takes no memory, to check a program with. Throws Error(kInvalidValue) for impossible sizes and
  // Error(kOutOfMemory) where memory is short.
  KvCache(std::shared_ptr<Backend> backend, const std::vector<KvLayerShape>& layers, int64_t num_blocks,
          DType dtype, bool planned_only = false);
  ~KvCache();
  KvCache(const KvCache&) = delete;
  KvCache& operator=(const KvCache&) = delete;

  int64_t num_layers() const { return static_cast<int64_t>(layers_.size()); }
  int64_t num_blocks() const { return num_blocks_; }
  int64_t bytes() const { return bytes_; }
  const KvCacheLayer& layer(int64_t index) const { return layers_[static_cast<size_t>(index)]; }

  // Copies blocks of every layer, after the steps that were run and before those that will be; pair by pair, so that a
  // pair sees what those before it copied. `pairs` is (count, 2): from, to. Throws Error(kInvalidValue), before anything
  // is copied, when a block is not there or is to be copied to itself.
  void copy_blocks(const int32_t* pairs, int64_t count);

 private:
  std::shared_ptr<Backend> backend_;
  std::vector<KvCacheLayer> layers_;
  int64_t num_blocks_, bytes_ = 0;
  std::byte* memory_ = nullptr;
};

}  // namespace kvasir
