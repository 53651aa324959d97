#include "device/cuda/emulator/copies.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <string>
#include <utility>

#include "device/cuda/emulator/grid.h"

namespace kvasir::cuda::emulator {

namespace {

// What mbarrier_init writes beside the barrier's number: anything else there is no barrier (any more).
constexpr uint32_t kBarrierMagic = 0xba881e80;
constexpr size_t kMaxBarriers = 256;

// Not memcpy, which ThreadSanitizer watches wherever it is called from.
__attribute__((optimize("no-tree-loop-distribute-patterns"))) void move(char* to, const char* from,
                                                                        int bytes) {
#if KVASIR_THREAD_SANITIZER
  note_read(from, static_cast<size_t>(bytes));
  note_write(to, static_cast<size_t>(bytes));
  for (int i = 0; i < bytes; ++i) to[i] = from[i];
#else
  std::memcpy(to, from, static_cast<size_t>(bytes));
#endif
}
__attribute__((optimize("no-tree-loop-distribute-patterns"))) void set(char* to, char byte, int bytes) {
#if KVASIR_THREAD_SANITIZER
  note_write(to, static_cast<size_t>(bytes));
  for (int i = 0; i < bytes; ++i) to[i] = byte;
#else
  std::memset(to, byte, static_cast<size_t>(bytes));
#endif
}

}  // namespace

void Copies::reset(Block& block) {
  const Unwatched own_memory;
  block_ = &block;
  barriers_.clear();
  barriers_.reserve(kMaxBarriers);  // they do not move
  pending_.clear();
}

void Copies::init(uint32_t barrier, int count, Site site) {
  if (block_->architecture < 90) fail("mbarrier_init needs architecture 90", site);
  char* place = block_->shared(barrier, 8, 8, "mbarrier_init", site);
  if (count < 1 || count > (1 << 20) - 1)
    fail("mbarrier_init of " + std::to_string(count) + " arrivals", site);
  MBarrier* b = nullptr;
  for (MBarrier& other : barriers_) {
    if (other.address == barrier) b = &other;
  }
  if (b == nullptr) {
    if (barriers_.size() == kMaxBarriers) fail("more than 256 mbarriers", site);
    b = &barriers_.emplace_back();
  }
  b->address = barrier;
  b->count = b->left = count;
  b->bytes = 0;
  b->phase = 0;
  std::memset(b->waiting, 0, sizeof b->waiting);
  const uint32_t words[2] = {kBarrierMagic, static_cast<uint32_t>(b - barriers_.data())};
  move(place, reinterpret_cast<const char*>(words), sizeof words);
}

Copies::MBarrier& Copies::find(uint32_t barrier, const char* what, Site site) {
  if (block_->architecture < 90) fail(std::string(what) + " needs architecture 90", site);
  const char* place = block_->shared(barrier, 8, 8, what, site);
  note_read(place, 8);
  uint32_t words[2];
  std::memcpy(words, place, sizeof words);
  if (words[0] != kBarrierMagic || words[1] >= barriers_.size() || barriers_[words[1]].address != barrier) {
    fail(std::string(what) + ": there is no mbarrier, it was not initialised or was overwritten", site);
  }
  return barriers_[words[1]];
}

void Copies::complete_if_done(MBarrier& b) {
  if (b.left != 0 || b.bytes != 0) return;
  b.left = b.count;
  ++b.phase;
  for (int w = 0; w < block_->num_warps; ++w) block_->wake(block_->warps[w], std::exchange(b.waiting[w], 0u));
}

void Copies::arrive(uint32_t barrier, uint32_t bytes, const char* what, Site site) {
  MBarrier& b = find(barrier, what, site);
  release(b.tokens[b.phase & 3]);
  if (b.left == 0) fail(std::string(what) + ": more arrivals than the barrier counts in a phase", site);
  b.bytes += bytes;
  --b.left;
  complete_if_done(b);
  block_->maybe_preempt();
}

void Copies::wait(uint32_t barrier, uint32_t parity, Site site) {
  MBarrier& b = find(barrier, "mbarrier_wait", site);
  const Thread& t = current();
  if (parity > 1) fail("mbarrier_wait for parity " + std::to_string(parity), site);
  while ((b.phase & 1) == parity) {
    b.waiting[t.warp->index] |= t.bit;
    block_->wait(parity == 0 ? "mbarrier_wait for parity 0" : "mbarrier_wait for parity 1", site);
  }
  if (b.phase > 0) acquire(b.tokens[(b.phase - 1) & 3]);
}

void Copies::bulk(uint32_t to, const void* from, uint32_t bytes, uint32_t barrier, Site site) {
  MBarrier& b = find(barrier, "copy_bulk", site);
  if (bytes % 16 != 0 || reinterpret_cast<uintptr_t>(from) % 16 != 0) {
    fail("copy_bulk of " + std::to_string(bytes) + " bytes from an address that is " +
             std::to_string(reinterpret_cast<uintptr_t>(from) % 16) + " modulo 16",
         site);
  }
  if (bytes == 0) fail("copy_bulk of nothing", site);
  Copy copy{};
  copy.to = block_->shared(to, bytes, 16, "copy_bulk", site);
  copy.from = static_cast<const char*>(from);
  copy.rows = copy.last_row = 1;
  copy.row_bytes = copy.last_byte = static_cast<int>(bytes);
  copy.address = to;
  copy.barrier = &b;
  add(copy);
}

void Copies::tensor(uint32_t to, const TensorMap& map, int column, int row, uint32_t barrier, Site site) {
  MBarrier& b = find(barrier, "copy_tensor", site);
  if (map.magic != kTensorMapMagic) fail("copy_tensor: the tensor map was not made by tensor_map", site);
  const auto clamp = [](int64_t x, int64_t most) {
    return static_cast<int>(x < 0 ? 0 : x < most ? x : most);
  };
  Copy copy{};
  copy.rows = map.box_rows;
  copy.row_bytes = map.box_cols * map.element_bytes;
  copy.to = block_->shared(to, bytes_of(copy), 1024, "copy_tensor", site);
  copy.first_row = clamp(-int64_t{row}, map.box_rows);
  copy.last_row = clamp(map.rows - row, map.box_rows);
  copy.first_byte = clamp(-int64_t{column}, map.box_cols) * map.element_bytes;
  copy.last_byte = clamp(map.cols - column, map.box_cols) * map.element_bytes;
  copy.from = map.base + row * map.row_stride_bytes + int64_t{column} * map.element_bytes;
  copy.from_stride = map.row_stride_bytes;
  copy.swizzled = true;
  copy.address = to;
  copy.barrier = &b;
  add(copy);
}

void Copies::add(Copy copy) {
  const bool lazy = block_->lazy_copies;
  for (int row = 0; lazy && row < copy.rows; ++row) set(copy.to + row * copy.row_bytes, -1, copy.row_bytes);
  copy.asked = &asked_[next_asked_++ % 256];
  release(*copy.asked);
  if (!lazy) return finish(copy);
  const Unwatched own_memory;
  pending_.push_back(copy);
}

// Not one of the kernel's threads does it.
void Copies::finish(const Copy& copy) {
  MBarrier& b = *copy.barrier;
  engines_[next_engine_++ % kEngines].run([&] {
    acquire(*copy.asked);
    move_all(copy);
    release(b.tokens[b.phase & 3]);
    block_->note_before_end();
    release(block_->launch->ended);
  });
  b.bytes -= bytes_of(copy);
  complete_if_done(b);
}

// 16 bytes at a time, as the swizzle keeps them together; those that are partly outside are zero there.
void Copies::move_all(const Copy& copy) {
  for (int row = 0; row < copy.rows; ++row) {
    const bool there = row >= copy.first_row && row < copy.last_row;
    for (int byte = 0; byte < copy.row_bytes; byte += 16) {
      const uint32_t linear = copy.address + static_cast<uint32_t>(row * copy.row_bytes + byte);
      const uint32_t place = copy.swizzled ? linear ^ (linear >> 7 & 7) << 4 : linear;
      char* to = copy.to + (place - copy.address);
      const int first = std::max(byte, copy.first_byte), last = std::min(byte + 16, copy.last_byte);
      if (!there || first >= last) {
        set(to, 0, 16);
        continue;
      }
      if (last - first < 16) set(to, 0, 16);
      move(to + (first - byte), copy.from + row * copy.from_stride + first, last - first);
    }
  }
}

bool Copies::finish_one() {
  if (pending_.empty()) return false;
  const size_t i =
      block_->launch->seed == 0 ? 0 : block_->random.below(static_cast<uint32_t>(pending_.size()));
  const Copy copy = pending_[i];
  {
    const Unwatched own_memory;
    pending_.erase(pending_.begin() + static_cast<std::ptrdiff_t>(i));
  }
  finish(copy);
  return true;
}

}  // namespace kvasir::cuda::emulator
