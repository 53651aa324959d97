#pragma once

#include <cstddef>
#include <cstdint>

#include "device/cuda/emulator/sanitizers.h"

// Elsewhere, or for a test, switches are ucontext's: several times slower.
#if defined(__x86_64__) && !defined(KVASIR_EMULATOR_UCONTEXT)
#define KVASIR_OWN_SWITCH 1
#else
#define KVASIR_OWN_SWITCH 0
#include <ucontext.h>
#endif

namespace kvasir::cuda::emulator {

// Stacks for the threads of a block, side by side in memory that begins at a multiple of its size: from the
// stack pointer alone follows which thread runs. That is quicker than a thread_local in a shared library.
class Stacks {
 public:
  static constexpr int kCount = 1024;
  static constexpr uintptr_t kBytes = kAddressSanitizer || kThreadSanitizer ? 256 << 10 : 128 << 10;

  // `owner` is what owner() finds.
  explicit Stacks(void* owner);
  ~Stacks();
  Stacks(const Stacks&) = delete;
  Stacks& operator=(const Stacks&) = delete;

  // Of the stacks that the caller runs on, and which of them it is.
  static void* owner() { return *reinterpret_cast<void**>(pointer() & ~(kCount * kBytes - 1)); }
  static int index() { return static_cast<int>(pointer() % (kCount * kBytes) / kBytes); }

  // Makes the first `count` stacks usable.
  void prepare(int count);
  // The lowest usable address of a stack, and how much there is; below it is a page that nobody may touch.
  char* bottom(int i) const { return base_ + i * kBytes + 2 * kPageBytes; }
  static constexpr size_t kUsableBytes = kBytes - 8192;

 private:
  static constexpr uintptr_t kPageBytes = 4096;
  static_assert(kUsableBytes == kBytes - 2 * kPageBytes);

  static uintptr_t pointer() {
    uintptr_t sp;
#if defined(__x86_64__)
    asm("movq %%rsp, %0" : "=r"(sp));
#elif defined(__aarch64__)
    asm("mov %0, sp" : "=r"(sp));
#else
    sp = reinterpret_cast<uintptr_t>(__builtin_frame_address(0));
#endif
    return sp;
  }

  char* base_;
  void* mapping_;
  int prepared_ = 0;
};

// A thread of control for ThreadSanitizer alone: what run() does is not the caller's doing.
class Aside {
 public:
  Aside() = default;
  Aside(const Aside&) = delete;
  Aside& operator=(const Aside&) = delete;

#if KVASIR_THREAD_SANITIZER
  ~Aside() {
    if (fiber_ != nullptr) __tsan_destroy_fiber(fiber_);
  }
  template <class F>
  void run(F f) {
    if (fiber_ == nullptr) fiber_ = __tsan_create_fiber(0);
    void* const caller = __tsan_get_current_fiber();
    __tsan_switch_to_fiber(fiber_, __tsan_switch_to_fiber_no_sync);
    f();
    __tsan_switch_to_fiber(caller, __tsan_switch_to_fiber_no_sync);
  }

 private:
  void* fiber_ = nullptr;
#else
  template <class F>
  void run(F f) {
    f();
  }
#endif
};

// A thread of control on a stack of its own, switched to and from by hand: what a CUDA thread is here.
class Context {
 public:
  Context() = default;
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;
  ~Context();

  // This becomes a place to come back to: the OS thread's own stack.
  void adopt_current();
  // The next jump here calls entry(argument), which must not return. `given_up`: what ran on the stack last
  // was left somewhere in the middle.
  void prepare(char* stack_bottom, size_t stack_bytes, void (*entry)(void*), void* argument, bool given_up);
  // First thing that entry does.
  void entered();
  // Nobody will come back here; what happened here is known after acquire() of a token.
  void abandon(Token& a, Token& b);
  // Goes on at `to`; comes back when somebody jumps here.
  void jump_to(Context& to);

 private:
#if KVASIR_OWN_SWITCH
  void* stack_pointer_ = nullptr;
#else
  ucontext_t context_;
#endif
#ifdef __SANITIZE_ADDRESS__
  bool has_stack_ = false;
  Context* came_from_ = nullptr;
  const void* bottom_ = nullptr;
  size_t size_ = 0;
  void* fake_stack_ = nullptr;
#endif
#if KVASIR_THREAD_SANITIZER
  void* fiber_ = nullptr;
  bool owns_fiber_ = false;
#endif
};

}  // namespace kvasir::cuda::emulator
