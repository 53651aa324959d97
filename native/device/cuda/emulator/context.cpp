#include "device/cuda/emulator/context.h"

#include <sys/mman.h>

#include <new>

// Saves what a called function must keep, changes stacks, restores. Where all threads run the same code, the
// processor predicts the final `ret`.
#if KVASIR_OWN_SWITCH
asm(R"(
.text
.p2align 4
.hidden kvasir_emulator_switch
.globl kvasir_emulator_switch
.type kvasir_emulator_switch, @function
kvasir_emulator_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size kvasir_emulator_switch, .-kvasir_emulator_switch

.p2align 4
.hidden kvasir_emulator_entry
.globl kvasir_emulator_entry
.type kvasir_emulator_entry, @function
kvasir_emulator_entry:
  .cfi_startproc
  .cfi_undefined rip
  movq %r13, %rdi
  call *%r12
  ud2
  .cfi_endproc
.size kvasir_emulator_entry, .-kvasir_emulator_entry
)");

extern "C" {
void kvasir_emulator_switch(void** from, void* to);
void kvasir_emulator_entry();
}
#endif

namespace kvasir::cuda::emulator {

Stacks::Stacks(void* owner) {
  constexpr uintptr_t kAll = kCount * kBytes;
  mapping_ =
      mmap(nullptr, 2 * kAll, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapping_ == MAP_FAILED) throw std::bad_alloc();
  base_ = reinterpret_cast<char*>((reinterpret_cast<uintptr_t>(mapping_) + kAll - 1) & ~(kAll - 1));
  *reinterpret_cast<void**>(base_) = owner;
}

void Stacks::prepare(int count) {
  for (; prepared_ < count; ++prepared_) mprotect(bottom(prepared_) - kPageBytes, kPageBytes, PROT_NONE);
}

Stacks::~Stacks() { munmap(mapping_, 2 * kCount * kBytes); }

Context::~Context() {
#if KVASIR_THREAD_SANITIZER
  if (owns_fiber_) __tsan_destroy_fiber(fiber_);
#endif
}

void Context::adopt_current() {
#if KVASIR_THREAD_SANITIZER
  fiber_ = __tsan_get_current_fiber();
#endif
}

void Context::prepare(char* stack_bottom, size_t stack_bytes, void (*entry)(void*), void* argument,
                      [[maybe_unused]] bool given_up) {
#ifdef __SANITIZE_ADDRESS__
  has_stack_ = true;
  bottom_ = stack_bottom;
  size_ = stack_bytes;
  fake_stack_ = nullptr;
  // What the functions that never returned left; without trouble that is entry and what it called last.
  const size_t left = given_up ? stack_bytes : 4096;
  __asan_unpoison_memory_region(stack_bottom + stack_bytes - left, left);
#endif
#if KVASIR_THREAD_SANITIZER
  if (!owns_fiber_) fiber_ = __tsan_create_fiber(0);
  owns_fiber_ = true;
#endif
#if KVASIR_OWN_SWITCH
  // As kvasir_emulator_switch pops them: r15 r14 r13 r12 rbx rbp, then where to go; above it 0, where no
  // caller is. A multiple of 64 is aligned as calls need it.
  void** top =
      reinterpret_cast<void**>((reinterpret_cast<uintptr_t>(stack_bottom) + stack_bytes) / 64 * 64 - 64);
  top[0] = nullptr;
  void** frame = top - 7;
  frame[0] = frame[1] = frame[4] = frame[5] = nullptr;
  frame[2] = argument;
  frame[3] = reinterpret_cast<void*>(entry);
  frame[6] = reinterpret_cast<void*>(&kvasir_emulator_entry);
  stack_pointer_ = frame;
#else
  getcontext(&context_);
  context_.uc_stack.ss_sp = stack_bottom;
  context_.uc_stack.ss_size = stack_bytes;
  context_.uc_link = nullptr;
  // makecontext passes ints.
  const uintptr_t function = reinterpret_cast<uintptr_t>(entry), data = reinterpret_cast<uintptr_t>(argument);
  auto unpack = +[](unsigned f1, unsigned f0, unsigned d1, unsigned d0) {
    reinterpret_cast<void (*)(void*)>(static_cast<uintptr_t>(f1) << 32 |
                                      f0)(reinterpret_cast<void*>(static_cast<uintptr_t>(d1) << 32 | d0));
  };
  makecontext(&context_, reinterpret_cast<void (*)()>(unpack), 4, static_cast<unsigned>(function >> 32),
              static_cast<unsigned>(function), static_cast<unsigned>(data >> 32),
              static_cast<unsigned>(data));
#endif
}

void Context::entered() {
#ifdef __SANITIZE_ADDRESS__
  const void* bottom;
  size_t size;
  __sanitizer_finish_switch_fiber(nullptr, &bottom, &size);
  if (came_from_ != nullptr && !came_from_->has_stack_) {  // the OS thread's own stack
    came_from_->bottom_ = bottom;
    came_from_->size_ = size;
  }
#endif
}

void Context::abandon([[maybe_unused]] Token& a, [[maybe_unused]] Token& b) {
#if KVASIR_THREAD_SANITIZER
  if (!owns_fiber_) return;
  void* const here = __tsan_get_current_fiber();
  __tsan_switch_to_fiber(fiber_, __tsan_switch_to_fiber_no_sync);
  release(a);
  release(b);
  __tsan_switch_to_fiber(here, __tsan_switch_to_fiber_no_sync);
  __tsan_destroy_fiber(fiber_);  // its notes of what it was calling
  owns_fiber_ = false;
#endif
}

void Context::jump_to(Context& to) {
#ifdef __SANITIZE_ADDRESS__
  to.came_from_ = this;
  __sanitizer_start_switch_fiber(&fake_stack_, to.bottom_, to.size_);
#endif
#if KVASIR_THREAD_SANITIZER
  __tsan_switch_to_fiber(to.fiber_, __tsan_switch_to_fiber_no_sync);
#endif
#if KVASIR_OWN_SWITCH
  kvasir_emulator_switch(&stack_pointer_, to.stack_pointer_);
#else
  swapcontext(&context_, &to.context_);
#endif
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_finish_switch_fiber(fake_stack_, nullptr, nullptr);
#endif
}

}  // namespace kvasir::cuda::emulator
