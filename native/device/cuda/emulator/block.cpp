#include "device/cuda/emulator/block.h"

#include <bit>
#include <cstdlib>
#include <cstring>
#include <map>
#include <new>
#include <string>
#include <utility>

#include "device/cuda/emulator/copies.h"
#include "device/cuda/emulator/grid.h"
#include "device/cuda/emulator/products.h"
#include "device/cuda/emulator/report.h"

namespace kvasir::cuda::emulator {

namespace {

constexpr uint32_t kSharedBase = 1024;  // so that 0 is no address

}  // namespace

bool same(Site a, Site b) {
  return a.line == b.line && (a.file == b.file || std::strcmp(a.file, b.file) == 0);
}

std::string text(Site site) {
  const char* slash = std::strrchr(site.file, '/');
  return std::string(slash == nullptr ? site.file : slash + 1) + ":" + std::to_string(site.line);
}

void fail(const std::string& message, Site site) {
  const Thread& t = current();
  throw Failure(text(site) + ": " + message + " (thread " + std::to_string(t.index) + " of block " +
                text(t.block->index) + ")");
}

Block::Block()
    : copies(std::make_unique<Copies>()),
      products(std::make_unique<Products>()),
      threads_(new Thread[Stacks::kCount]),
      stacks_(threads_.get()),
      warp_storage_(new Warp[32]) {
  std::memset(barriers, 0, sizeof barriers);
  warps = warp_storage_.get();
  arena = nullptr;
}

Block::~Block() { std::free(arena); }

void Block::allocate_arena(int64_t bytes) {
  if (bytes == arena_bytes_) return;
  std::free(arena);
  arena = nullptr;
  arena_bytes_ = bytes;
  void* memory = nullptr;
  if (bytes > 0 && posix_memalign(&memory, 1024, static_cast<size_t>(bytes)) != 0) throw std::bad_alloc();
  arena = static_cast<std::byte*>(memory);
}

void Block::set_up(const Launch& l, uint3 block_index) {
  launch = &l;
  architecture = l.call().architecture;
  lazy_copies = l.lazy_copies;
  index = block_index;
  size = l.grid().block;
  grid_size = l.grid().grid;
  num_threads_ = live_ = static_cast<int>(size.x * size.y * size.z);
  num_warps = (num_threads_ + 31) / 32;
  const uint64_t linear = (static_cast<uint64_t>(index.z) * grid_size.y + index.y) * grid_size.x + index.x;
  in_order_ = l.seed == 0;
  random = Random(l.seed * 1000003 + l.number * 8191 + linear);
  until_preempted_ = 1 + static_cast<int>(random.below(64));
  for (Barrier& b : barriers) {
    b.arrived = 0;
    std::memset(b.waiting, 0, sizeof b.waiting);
  }
  std::memset(at_gate_, 0, sizeof at_gate_);
  copies->reset(*this);
  products->reset(*this);
  for (int w = 0; w < num_warps; ++w) {
    Warp& warp = warps[w];
    const int lanes = num_threads_ - 32 * w < 32 ? num_threads_ - 32 * w : 32;
    warp.existing = warp.ready = 0xffffffffu >> (32 - lanes);
    warp.ended = 0;
    warp.index = w;
    warp.threads = &threads_[32 * w];
    warp.descending = !in_order_ && random.next() & 1;
    warp.first = in_order_ ? 0 : static_cast<int>(random.below(32));
    warp.num_open = 0;
    warp.next_token = 0;
  }
  ready_warps_ = 0xffffffffu >> (32 - num_warps);
  stacks_.prepare(num_threads_);
  uint3 at{0, 0, 0};
  for (int i = 0; i < num_threads_; ++i) {
    Thread& t = threads_[i];
    t.thread_index = at;
    t.block = this;
    t.warp = &warps[i / 32];
    t.bit = 1u << i % 32;
    t.index = i;
    t.waiting_for = nullptr;
    t.copies.clear();
    t.copy_group = 0;
    // The stacks' tops at different distances, so that they do not meet in the same cache sets.
    const size_t bytes = Stacks::kUsableBytes - static_cast<size_t>(i) * 832 % 32768;
    t.context.prepare(stacks_.bottom(i), bytes, &Block::enter, &t, gave_up_);
    if (++at.x == size.x) {
      at.x = 0;
      if (++at.y == size.y) at.y = 0, ++at.z;
    }
  }
}

void Block::run(const Launch& l, uint3 block_index, Gate* gate) {
  preparation_.run([&] {
    acquire(ended_);
    allocate_arena(l.grid().shared_bytes);
    if (arena != nullptr) std::memset(arena, 0xff, static_cast<size_t>(arena_bytes_));  // NaN in every type
    release(started_);
  });
  set_up(l, block_index);
  gate_ = gate;
  main_.adopt_current();
  Warp& first = in_order_ ? warps[0] : *random_ready_warp();
  Thread* t = next_ready(&first);
  main_.jump_to(t->context);
  gave_up_ = live_ > 0;
  for (int i = 0; gave_up_ && i < num_threads_; ++i) threads_[i].context.abandon(ended_, l.ended);
  if (gave_up_) acquire(ended_);  // for failure_
  if (failure_.empty() && copies->under_way()) {
    failure_ = "block " + text(index) + " ended while bulk copies into its shared memory were under way";
  }
  if (failure_.empty() && products->under_way()) {
    failure_ = "block " + text(index) + " ended with wgmma groups that nobody waited for";
  }
  if (!failure_.empty()) throw Failure(std::exchange(failure_, {}));
}

void Block::enter(void* argument) {
  Thread& t = *static_cast<Thread*>(argument);
  Block& block = *t.block;
  t.context.entered();
  acquire(block.started_);
  acquire(block.launch->asked);
  if (!block.launch->call().overlap) acquire(block.launch->before);
  std::string failure;
  try {
    block.launch->call().kernel();
  } catch (const Failure& thrown) {
    failure = thrown.message;
  } catch (const std::exception& thrown) {
    failure = std::string("the kernel threw: ") + thrown.what();
  }
  if (failure.empty()) {
    block.end_thread(t);
  } else {
    block.give_up(t, std::move(failure));
  }
}

void Block::give_up(Thread& t, std::string message) {
  failure_ = std::move(message);
  t.context.jump_to(main_);  // nobody comes back
}

void Block::end_thread(Thread& t) {
  release(ended_);
  release(launch->ended);
  t.warp->ended |= t.bit;
  --live_;
  Barrier& all = barriers[0];
  if (all.arrived > 0 && all.arrived == live_) complete(all);
  Thread* next = next_ready(t.warp);
  while (next == nullptr && live_ > 0 && unblock()) next = next_ready(t.warp);
  if (next != nullptr && failure_.empty()) t.context.jump_to(next->context);
  if (live_ > 0 && failure_.empty()) failure_ = deadlock();
  t.context.jump_to(main_);
}

Warp* Block::random_ready_warp() {
  uint32_t left = ready_warps_;
  for (uint32_t skip = random.below(static_cast<uint32_t>(std::popcount(left))); skip > 0; --skip) {
    left &= left - 1;
  }
  return &warps[std::countr_zero(left)];
}

// The next thread to run, no longer ready: of `last` if there is one.
Thread* Block::next_ready(Warp* last) {
  Warp* w = last;
  if (w->ready == 0) {
    if (!in_order_ && copies->under_way() && random.below(8) == 0) copies->finish_one();
    if (ready_warps_ == 0) return nullptr;
    if (in_order_) {
      const uint32_t later = ready_warps_ & ~((2u << last->index) - 1);
      w = &warps[std::countr_zero(later != 0 ? later : ready_warps_)];
    } else {
      w = random_ready_warp();
      const uint32_t drawn = random.next();
      w->descending = drawn & 1;
      w->first = static_cast<int>(drawn >> 1 & 31);
    }
  }
  const uint32_t rotated = std::rotr(w->ready, w->first);
  const int from_first = w->descending ? 31 - std::countl_zero(rotated) : std::countr_zero(rotated);
  const int lane = (from_first + w->first) & 31;
  w->ready &= ~(1u << lane);
  if (w->ready == 0) ready_warps_ &= ~(1u << w->index);
  return &w->threads[lane];
}

void Block::switch_to(Thread& from, Thread& to) { from.context.jump_to(to.context); }

void Block::wait(const char* what, Site site) {
  Thread& t = current();
  t.waiting_for = what;
  t.waiting_at = site;
  Thread* next = next_ready(t.warp);
  while (next == nullptr) {
    if (!unblock()) throw Failure(deadlock());
    next = next_ready(t.warp);
  }
  if (next != &t) switch_to(t, *next);
  t.waiting_for = nullptr;
}

// Lets somebody go on when all wait; false if nothing can.
bool Block::unblock() {
  if (copies->finish_one()) return true;
  if (gate_ == nullptr) return false;
  uint32_t waiting = 0;
  for (int w = 0; w < num_warps; ++w) waiting |= at_gate_[w];
  if (waiting == 0 || !gate_->pass()) return false;
  gate_ = nullptr;
  for (int w = 0; w < num_warps; ++w) wake(warps[w], std::exchange(at_gate_[w], 0u));
  return true;
}

void Block::wait_for_predecessor(Site site) {
  launch->waited_for_predecessor.store(true, std::memory_order_relaxed);
  const Thread& t = current();
  if (gate_ != nullptr) {
    at_gate_[t.warp->index] |= t.bit;
    wait("wait_for_predecessor", site);
  }
  acquire(launch->before);
}

void Block::wake(Warp& warp, uint32_t lanes) {
  if (lanes == 0) return;
  warp.ready |= lanes;
  ready_warps_ |= 1u << warp.index;
}

void Block::maybe_preempt() {
  if (in_order_ || --until_preempted_ > 0) return;
  until_preempted_ = 1 + static_cast<int>(random.below(64));
  Thread& t = current();
  const uint32_t others = ready_warps_ & ~(1u << t.warp->index);
  if (others == 0) return;
  const uint32_t ready = ready_warps_;
  ready_warps_ = others;
  Warp* w = random_ready_warp();
  ready_warps_ = ready;
  wake(*t.warp, t.bit);
  switch_to(t, *next_ready(w));
}

int Block::barrier(int id, int threads, bool waits, int value, const char* what, Site site) {
  Thread& t = current();
  Barrier& b = barriers[id];
  if (b.arrived == 0) {
    b.all = threads == 0;
    b.expected = threads;
    b.site = site;
    b.values[b.generation & 1] = 0;
  } else if (b.all && !same(b.site, site)) {
    fail("divergent barrier: threads " + threads_text(warps, num_warps, b.waiting) + " wait at " +
             text(b.site) + ", thread " + std::to_string(t.index) + " came here",
         site);
  } else if (b.expected != threads) {
    fail("barrier " + std::to_string(id) + " of " + std::to_string(b.expected) + " threads at " +
             text(b.site) + " and of " + std::to_string(threads) + " here",
         site);
  }
  const int64_t generation = b.generation;
  release(b.tokens[generation & 3]);
  b.values[generation & 1] += value != 0;
  if (++b.arrived == (b.all ? live_ : b.expected)) {
    complete(b);
    if (!failure_.empty()) throw Failure(std::exchange(failure_, {}));
    maybe_preempt();
  } else if (waits) {
    b.waiting[t.warp->index] |= t.bit;
    wait(what, site);
  } else {
    maybe_preempt();
    return 0;
  }
  if (waits) acquire(b.tokens[generation & 3]);
  return b.values[generation & 1];
}

void Block::complete(Barrier& b) {
  if (b.all && live_ < num_threads_) {
    for (int w = 0; w < num_warps; ++w) {
      const uint32_t ended = warps[w].ended;
      if (ended == 0 || ended == warps[w].existing) continue;
      failure_ = text(b.site) + ": divergent barrier: the other lanes of warp " + std::to_string(w) +
                 " wait, lanes " + lanes_text(ended) + " have ended (block " + text(index) + ")";
      return;
    }
  }
  b.arrived = 0;
  ++b.generation;
  for (int w = 0; w < num_warps; ++w) {
    wake(warps[w], std::exchange(b.waiting[w], 0u));
  }
}

char* Block::shared(uint32_t address, int64_t bytes, int64_t alignment, const char* what, Site site) {
  const int64_t offset = static_cast<int64_t>(address) - kSharedBase;
  if (offset < 0 || offset + bytes > arena_bytes_) {
    fail(std::string(what) + ": bytes " + std::to_string(offset) + " to " +
             std::to_string(offset + bytes - 1) + " of dynamic shared memory, which has " +
             std::to_string(arena_bytes_),
         site);
  }
  if (offset % alignment != 0) {
    fail(std::string(what) + ": byte " + std::to_string(offset) + " of shared memory is not " +
             std::to_string(alignment) + "-byte aligned",
         site);
  }
  return reinterpret_cast<char*>(arena) + offset;
}

uint32_t Block::shared_address(const void* p, Site site) {
  const int64_t offset = static_cast<const std::byte*>(p) - arena;
  if (arena == nullptr || offset < 0 || offset > arena_bytes_) {
    fail("shared_address of what is not in the dynamic shared memory", site);
  }
  return static_cast<uint32_t>(offset) + kSharedBase;
}

std::string Block::deadlock() const {
  std::map<std::string, Ranges> groups;
  for (int i = 0; i < num_threads_; ++i) {
    const Thread& t = threads_[i];
    const bool ended = t.warp->ended & t.bit;
    groups[ended ? "have ended" : std::string("wait in ") + t.waiting_for + " at " + text(t.waiting_at)].add(
        i);
  }
  std::string message = "deadlock in block " + text(index);
  const char* separator = ": ";
  for (auto& [state, threads] : groups) {
    message += separator + ("threads " + threads.text()) + " " + state;
    separator = "; ";
  }
  return message;
}

}  // namespace kvasir::cuda::emulator
