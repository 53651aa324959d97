#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <string>
#include <vector>

#include "device/cuda/emulator/context.h"
#include "device/cuda/emulator/sanitizers.h"
#include "device/cuda/emulator/vectors.h"

// A block of CUDA threads on one OS thread. Each is a fiber that runs until it has to wait for others; then the
// next one that can runs, in a random but repeatable order.
namespace kvasir::cuda::emulator {

class Block;
class Copies;
class Products;
struct Warp;

// Where in a kernel something was called. As a default argument, here() is the caller's line.
struct Site {
  const char* file;
  int line;

  static constexpr Site here(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
    return {file, line};
  }
};

bool same(Site a, Site b);
std::string text(Site site);  // name.cuh:12

// What went wrong in a kernel; ends the launch.
struct Failure : std::exception {
  explicit Failure(std::string message) : message(std::move(message)) {}
  const char* what() const noexcept override { return message.c_str(); }
  std::string message;
};

// A copy_async that has not been done.
struct PendingCopy {
  char* to;
  const void* from;  // null for zeros
  int64_t group;
};

struct Thread {
  uint3 thread_index;
  Block* block;
  Warp* warp;
  uint32_t bit;  // 1 << lane
  int index;     // in the block

  const char* waiting_for;  // null while it can run
  Site waiting_at;

  std::vector<PendingCopy> copies;
  int64_t copy_group;  // of the next copy_async

  Context context;
};

// The thread that runs. Only in kernels.
inline Thread& current() { return static_cast<Thread*>(Stacks::owner())[Stacks::index()]; }

// What a warp's lanes do together: called once, by the lane that comes last, with every lane's operand.
using Meeting = void (*)(void* const operands[32], uint32_t lanes);

struct Warp {
  uint32_t existing, ready, ended;  // lanes. The running one is not ready
  int index;
  Thread* threads;
  bool descending;  // the order of ready lanes
  int first;        // and the lane it begins with

  struct Open {
    Meeting meeting;
    uint32_t mask, arrived;
    Site site;
    int token;
  };
  Open open[32];  // meetings that lanes wait in
  int num_open;
  void* operands[32];
  Token tokens[64];
  int next_token;
};

struct Barrier {
  int arrived, expected;
  int64_t generation;
  bool all;  // __syncthreads
  Site site;
  uint32_t waiting[32];  // lanes of each warp
  int values[2];         // of __syncthreads_count and the like, by generation
  Token tokens[4];
};

struct Grid {
  dim3 grid, block;
  int64_t shared_bytes;
};

// A random sequence: xorshift64*.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15u + 0x1234567887654321u) {}
  uint32_t next() {
    state_ ^= state_ >> 12;
    state_ ^= state_ << 25;
    state_ ^= state_ >> 27;
    return static_cast<uint32_t>(state_ * 0x2545f4914f6cdd1du >> 32);
  }
  uint32_t below(uint32_t n) { return static_cast<uint32_t>(static_cast<uint64_t>(next()) * n >> 32); }

 private:
  uint64_t state_;
};

// What all blocks of a launch have in common.
class Launch;

// Where a block that began early waits for the launch before it.
class Gate {
 public:
  virtual ~Gate() = default;
  // False: the block is given up.
  virtual bool pass() = 0;
};

class Block {
 public:
  Block();
  ~Block();
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;

  // Runs all threads of a block to their end, those that wait for the predecessor after `gate`, which may be
  // null. Throws Failure.
  void run(const Launch& launch, uint3 index, Gate* gate);

  // For the running thread, called by the functions of language.h and ptx.h.

  // The lanes of `mask` meet; those that come first wait.
  void meet(Meeting meeting, uint32_t mask, void* operand, const char* what, bool any_site, Site site);
  // Barrier 0 is __syncthreads. `threads` 0 means all that have not ended. Returns the number of threads whose
  // `value` was not 0.
  int barrier(int id, int threads, bool wait, int value, const char* what, Site site);
  // Waits for somebody to call wake(). The thread's waiting_for is what deadlocks are reported with.
  void wait(const char* what, Site site);
  void wake(Warp& warp, uint32_t lanes);
  void wait_for_predecessor(Site site);
  // A place where another warp may go on.
  void maybe_preempt();
  // Tells the sanitizer that the block's end comes after this.
  void note_before_end() { release(ended_); }
  // The memory at `address`, which must lie in the dynamic shared memory with `bytes` after it.
  char* shared(uint32_t address, int64_t bytes, int64_t alignment, const char* what, Site site);
  uint32_t shared_address(const void* p, Site site);

  uint3 index, size, grid_size;  // blockIdx, blockDim, gridDim
  int architecture;
  bool lazy_copies;
  const Launch* launch;
  std::byte* arena;
  Warp* warps = nullptr;
  int num_warps;
  Random random{0};
  std::unique_ptr<Copies> copies;
  std::unique_ptr<Products> products;
  Barrier barriers[16 + 8];  // of the language, then one for each warpgroup's products

 private:
  static void enter(void* thread);
  void set_up(const Launch& launch, uint3 index);
  void allocate_arena(int64_t bytes);
  void end_thread(Thread& t);
  void complete(Barrier& b);
  bool unblock();
  Thread* next_ready(Warp* last);
  Warp* random_ready_warp();
  void switch_to(Thread& from, Thread& to);
  void give_up(Thread& t, std::string message);
  std::string deadlock() const;

  Context main_;
  std::unique_ptr<Thread[]> threads_;
  Stacks stacks_;
  std::unique_ptr<Warp[]> warp_storage_;
  int num_threads_, live_;
  uint32_t ready_warps_;  // that have ready lanes
  bool in_order_;
  int until_preempted_;
  Gate* gate_ = nullptr;       // null when the block has passed it
  uint32_t at_gate_[32] = {};  // lanes of each warp
  std::string failure_;
  bool gave_up_ = false;  // the last block's threads were left in the middle
  int64_t arena_bytes_ = -1;
  // The blocks of an OS thread have shared memory one after the other.
  Token started_, ended_;
  Aside preparation_;
};

// For the running thread.

constexpr uint32_t kWarp = 0xffffffffu;
inline int lane() { return current().index & 31; }
// ptx::barrier_sync and barrier_arrive.
void named_barrier(int id, int threads, bool wait, const char* what, Site site);
[[noreturn]] void fail(const std::string& message, Site site);

}  // namespace kvasir::cuda::emulator
