#pragma once

#include <cstddef>

// What the emulator tells the sanitizers. Under ThreadSanitizer its own sources are compiled without
// instrumentation and with KVASIR_EMULATOR_TSAN: only kernels are watched.

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

#if defined(__SANITIZE_THREAD__) || defined(KVASIR_EMULATOR_TSAN)
#define KVASIR_THREAD_SANITIZER 1
#include <sanitizer/tsan_interface.h>
extern "C" {
void __tsan_read_range(void* address, unsigned long bytes);
void __tsan_write_range(void* address, unsigned long bytes);
void AnnotateIgnoreReadsBegin(const char* file, int line);
void AnnotateIgnoreReadsEnd(const char* file, int line);
void AnnotateIgnoreWritesBegin(const char* file, int line);
void AnnotateIgnoreWritesEnd(const char* file, int line);
}
#else
#define KVASIR_THREAD_SANITIZER 0
#endif

namespace kvasir::cuda::emulator {

#ifdef __SANITIZE_ADDRESS__
constexpr bool kAddressSanitizer = true;
#else
constexpr bool kAddressSanitizer = false;
#endif
constexpr bool kThreadSanitizer = KVASIR_THREAD_SANITIZER;

// A place through which one thread's past becomes known to another: what happened before release() is known
// after acquire().
struct Token {
  alignas(8) char place[8];
};

#if KVASIR_THREAD_SANITIZER
inline void release(Token& token) { __tsan_release(&token); }
inline void acquire(Token& token) { __tsan_acquire(&token); }
inline void note_read(const void* p, size_t bytes) { __tsan_read_range(const_cast<void*>(p), bytes); }
inline void note_write(void* p, size_t bytes) { __tsan_write_range(p, bytes); }
// While it lives, what the thread does is not watched: for the emulator's own memory, which one thread
// allocates and another frees. No switch meanwhile.
class Unwatched {
 public:
  Unwatched() {
    AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
    AnnotateIgnoreWritesBegin(__FILE__, __LINE__);
  }
  ~Unwatched() {
    AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
    AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
  }
};
#else
class Unwatched {
 public:
  Unwatched() {}
  ~Unwatched() {}
};
inline void release(Token&) {}
inline void acquire(Token&) {}
inline void note_read(const void*, size_t) {}
inline void note_write(void*, size_t) {}
#endif

}  // namespace kvasir::cuda::emulator
