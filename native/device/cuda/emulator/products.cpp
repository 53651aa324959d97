#include "device/cuda/emulator/products.h"

#include <bit>
#include <cstring>
#include <limits>
#include <string>

#include "device/cuda/emulator/grid.h"

namespace kvasir::cuda::emulator {

namespace {

constexpr int kRows = 64, kThreads = 128;
constexpr int kFirstBarrier = 16;  // of the block's, one for each warpgroup

// f(value, place) for each accumulator: place in (64,n) of d[i] of a thread.
template <class F>
void each_accumulator(int thread, int n, F f) {
  const int warp = thread / 32 % 4, g = thread % 32 / 4, t = thread % 4;
  const int row = 16 * warp + g;
  for (int i = 0; i < n / 8; ++i) {
    const int upper = row * n + 8 * i + 2 * t, lower = upper + 8 * n;
    f(4 * i, upper);
    f(4 * i + 1, upper + 1);
    f(4 * i + 2, lower);
    f(4 * i + 3, lower + 1);
  }
}

// Shared memory as a descriptor of matrix_descriptor shows it.
struct Described {
  Described(Block& block, uint64_t descriptor, Site site) : block(block), site(site) {
    if (descriptor >> 62 != 1 || (descriptor >> 49 & 7) != 0) fail("wgmma: not a matrix_descriptor", site);
    address = static_cast<uint32_t>(descriptor & 0x3fff) << 4;
    leading = static_cast<uint32_t>(descriptor >> 16 & 0x3fff) << 4;
    stride = static_cast<uint32_t>(descriptor >> 32 & 0x3fff) << 4;
  }

  // 8 numbers: those that the swizzle keeps together.
  const uint16_t* piece(uint32_t offset) const {
    const uint32_t linear = address + offset;
    const char* p = block.shared(linear ^ (linear >> 7 & 7) << 4, 16, 16, "wgmma", site);
    note_read(p, 16);
    return reinterpret_cast<const uint16_t*>(p);
  }

  Block& block;
  Site site;
  uint32_t address, leading, stride;
};

// (rows,16), rows of 128 bytes.
void read_k_major(const Described& from, Half half, double* to, int rows) {
  for (int row = 0; row < rows; ++row) {
    const uint32_t offset =
        static_cast<uint32_t>(row / 8) * from.stride + static_cast<uint32_t>(row % 8) * 128;
    for (int piece = 0; piece < 2; ++piece) {
      widen8(half, from.piece(offset + 16 * static_cast<uint32_t>(piece)), to + row * kStepK + 8 * piece);
    }
  }
}

// (16,n), 64 columns in a row of 128 bytes.
void read_transposed(const Described& from, Half half, double* to, int n) {
  for (int k = 0; k < kStepK; ++k) {
    const uint32_t offset = static_cast<uint32_t>(k / 8) * from.stride + static_cast<uint32_t>(k % 8) * 128;
    for (int col = 0; col < n; col += 8) {
      const uint32_t place =
          static_cast<uint32_t>(col / 64) * from.leading + static_cast<uint32_t>(col % 64) * 2;
      widen8(half, from.piece(offset + place), to + k * n + col);
    }
  }
}

}  // namespace

void Products::reset(Block& block) {
  const Unwatched own_memory;
  block_ = &block;
  for (Warpgroup& group : groups_) {
    group.queue.clear();
    group.num_done = 0;
    for (auto& tile : group.tiles) tile->users = tile->pending = 0;
  }
  threads_.clear();
}

void Products::fence() {
  const Unwatched own_memory;
  threads_.resize(static_cast<size_t>(block_->num_warps) * 32);
  threads_[static_cast<size_t>(current().index)].fenced = true;
}

bool Products::under_way() const {
  for (const Warpgroup& group : groups_) {
    if (!group.queue.empty()) return true;
  }
  for (const ThreadState& thread : threads_) {
    if (!thread.held.empty()) return true;
  }
  return false;
}

int Products::free_tile(Warpgroup& group, int n) {
  size_t i = 0;
  while (i < group.tiles.size() && group.tiles[i]->users > 0) ++i;
  if (i == group.tiles.size()) group.tiles.push_back(std::make_unique<Tile>());
  Tile& tile = *group.tiles[i];
  tile.n = n;
  tile.values.resize(static_cast<size_t>(kRows) * static_cast<size_t>(n));
  return static_cast<int>(i);
}

void Products::hold(Warpgroup& group, ThreadState& thread, const Asked& asked, bool first, float* d,
                    Site site) {
  for (const Held& held : thread.held) {
    if (held.d != d) continue;
    if (held.tile != asked.tile) fail("wgmma: the warpgroup's threads name different accumulators", site);
    return;
  }
  Tile& tile = *group.tiles[static_cast<size_t>(asked.tile)];
  if (!first && tile.users == kThreads)
    fail("wgmma: the warpgroup's threads name different accumulators", site);
  ++tile.users;
  const Unwatched own_memory;
  thread.held.push_back({d, asked.tile});
  each_accumulator(current().index, tile.n, [&](int i, int place) {
    tile.values[static_cast<size_t>(place)] = d[i];
    d[i] = std::numeric_limits<float>::quiet_NaN();
  });
}

void Products::add(const Product& product, float* d, const uint32_t* a, Site site) {
  const Thread& t = current();
  const int number = t.warp->index / 4;
  if (block_->architecture / 10 != 9) fail("wgmma needs architecture 90", site);
  if (threads_.empty() || !threads_[static_cast<size_t>(t.index)].fenced)
    fail("wgmma without wgmma_fence", site);
  if (4 * number + 4 > block_->num_warps) fail("wgmma in a warpgroup of less than four warps", site);
  Warpgroup& group = groups_[number];
  ThreadState& thread = threads_[static_cast<size_t>(t.index)];
  const size_t place = static_cast<size_t>(thread.asked++ - group.num_done);
  const bool first = place == group.queue.size();
  if (first) {
    int tile = -1;
    for (const Held& held : thread.held) {
      if (held.d == d) tile = held.tile;
    }
    const Unwatched own_memory;
    if (tile < 0) tile = free_tile(group, product.n);
    Asked& asked = group.queue.emplace_back();
    asked.product = product;
    asked.tile = tile;
    asked.threads = 0;
    ++group.tiles[static_cast<size_t>(tile)]->pending;
  }
  Asked& asked = group.queue[place];
  const Product& p = asked.product;
  if (p.half != product.half || p.a_in_registers != product.a_in_registers || p.n != product.n ||
      p.b_transposed != product.b_transposed || p.accumulate != product.accumulate || p.a != product.a ||
      p.b != product.b || !same(p.site, site)) {
    fail("the warpgroup diverged: others ask for another wgmma, at " + text(p.site), site);
  }
  hold(group, thread, asked, first, d, site);
  if (product.a_in_registers) {
    const int row = t.index / 32 % 4 * 16 + t.index % 32 / 4, col = t.index % 4 * 2;
    std::memcpy(&asked.a[row * kStepK + col], &a[0], 4);
    std::memcpy(&asked.a[(row + 8) * kStepK + col], &a[1], 4);
    std::memcpy(&asked.a[row * kStepK + col + 8], &a[2], 4);
    std::memcpy(&asked.a[(row + 8) * kStepK + col + 8], &a[3], 4);
  }
  ++asked.threads;
  if (!block_->lazy_copies) {
    while (!group.queue.empty() && group.queue.front().threads == kThreads) perform_first(group);
  }
}

void Products::commit(Site site) {
  if (threads_.empty()) fail("wgmma_commit without wgmma_fence", site);
  const Unwatched own_memory;
  ThreadState& thread = threads_[static_cast<size_t>(current().index)];
  thread.groups.push_back(thread.asked);
}

void Products::wait(int groups, Site site) {
  if (threads_.empty()) return;
  const Thread& t = current();
  ThreadState& thread = threads_[static_cast<size_t>(t.index)];
  if (static_cast<int>(thread.groups.size()) <= groups) return;
  const int64_t upto = thread.groups[thread.groups.size() - 1 - static_cast<size_t>(groups)];
  forget(thread, groups);
  if (upto <= thread.done) return;
  thread.done = upto;

  const int number = t.warp->index / 4;
  Warpgroup& group = groups_[number];
  Barrier& barrier = block_->barriers[kFirstBarrier + number];
  if (barrier.arrived > 0 && !same(barrier.site, site)) {
    fail("the warpgroup diverged: others wait for products at " + text(barrier.site), site);
  }
  if (barrier.arrived == kThreads - 1) {
    while (group.num_done < upto) perform_first(group);
  }
  block_->barrier(kFirstBarrier + number, kThreads, true, 0, "wgmma_wait", site);

  give_back(group, thread);
}

void Products::forget(ThreadState& thread, int groups) {
  const Unwatched own_memory;
  thread.groups.erase(thread.groups.begin(), thread.groups.end() - groups);
}

// The accumulators whose products are done go back to where the thread has them.
void Products::give_back(Warpgroup& group, ThreadState& thread) {
  const Unwatched own_memory;
  for (size_t i = 0; i < thread.held.size();) {
    const Held held = thread.held[i];
    Tile& tile = *group.tiles[static_cast<size_t>(held.tile)];
    if (tile.pending > 0) {
      ++i;
      continue;
    }
    each_accumulator(current().index, tile.n,
                     [&](int j, int place) { held.d[j] = tile.values[static_cast<size_t>(place)]; });
    --tile.users;
    thread.held.erase(thread.held.begin() + static_cast<std::ptrdiff_t>(i));
  }
}

void Products::perform_first(Warpgroup& group) {
  const Asked& asked = group.queue.front();
  const Product& p = asked.product;
  if (asked.threads != kThreads) fail("the warpgroup diverged: not all threads asked for this wgmma", p.site);
  Tile& tile = *group.tiles[static_cast<size_t>(asked.tile)];
  double *const a = a_, *const b = b_;
  if (p.a_in_registers) {
    widen(p.half, asked.a, a, kRows * kStepK);
  } else {
    read_k_major(Described(*block_, p.a, p.site), p.half, a, kRows);
  }
  const Described from(*block_, p.b, p.site);
  if (p.b_transposed) {
    read_transposed(from, p.half, b, p.n);
  } else {
    read_k_major(from, p.half, b_rows_, p.n);
    for (int k = 0; k < kStepK; ++k) {
      for (int n = 0; n < p.n; ++n) b[k * p.n + n] = b_rows_[n * kStepK + k];
    }
  }
  if (!p.accumulate) std::memset(tile.values.data(), 0, tile.values.size() * sizeof(float));
  multiply(tile.values.data(), a, b, kRows, p.n);
  --tile.pending;
  ++group.num_done;
  const Unwatched own_memory;
  group.queue.pop_front();
}

}  // namespace kvasir::cuda::emulator
