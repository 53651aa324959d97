#include <dlfcn.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#if defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <memory>
#include <system_error>

#include "platform/linux-cgroup.h"
#include "platform/platform.h"
#include "types/error.h"

#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>
#endif

namespace kvasir::platform {

// --- threads ---

namespace {

int processors_in_affinity_mask() {
  // The mask's size is the kernel's choice; too small a set is refused with EINVAL.
  for (int limit = 1024; limit <= 1 << 20; limit *= 4) {
    cpu_set_t* set = CPU_ALLOC(limit);
    if (!set) break;
    int failed = sched_getaffinity(0, CPU_ALLOC_SIZE(limit), set);
    int error = errno;
    int count = failed ? 0 : CPU_COUNT_S(CPU_ALLOC_SIZE(limit), set);
    CPU_FREE(set);
    if (count > 0) return count;
    if (error != EINVAL) break;
  }
  return std::max(1, static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN)));
}

}  // namespace

int available_processors() {
  int processors = processors_in_affinity_mask();
  double quota = std::ceil(cgroup_processors());
  return quota < processors ? std::max(1, static_cast<int>(quota)) : processors;
}

void cpu_relax() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__) || defined(__arm__)
  asm volatile("yield" ::: "memory");
#else
  asm volatile("" ::: "memory");
#endif
}

// A futex is a plain 32-bit word in memory.
static_assert(sizeof(std::atomic<uint32_t>) == sizeof(uint32_t) &&
              std::atomic<uint32_t>::is_always_lock_free);

void wait_on(const std::atomic<uint32_t>& word, uint32_t expected) {
  syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, expected, nullptr, nullptr, 0);
}

void wake_all(const std::atomic<uint32_t>& word) {
  syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, INT_MAX, nullptr, nullptr, 0);
}

void name_thread(const char* name) {
  pthread_setname_np(pthread_self(), std::string(name).substr(0, 15).c_str());
}

// --- memory ---

namespace {

constexpr size_t kHugePage = size_t{2} << 20;

size_t whole_pages(size_t bytes) {
  size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return (std::max<size_t>(bytes, 1) + page - 1) / page * page;
}

[[noreturn]] void throw_no_address_space(size_t bytes, int error) {
  throw Error(ErrorKind::kOutOfMemory, "reserve_pages: cannot reserve " + std::to_string(bytes) + " bytes (" +
                                           std::system_category().message(error) + ")");
}

}  // namespace

void* reserve_pages(size_t bytes) {
  bool huge = bytes >= kHugePage;
  size_t slack = huge ? kHugePage : 0;  // a huge page needs its own alignment, which mmap does not promise
  if (bytes > std::numeric_limits<size_t>::max() - 2 * kHugePage) throw_no_address_space(bytes, ENOMEM);
  size_t length = whole_pages(bytes);
  void* mapping = mmap(nullptr, length + slack, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapping == MAP_FAILED) throw_no_address_space(bytes, errno);
  if (!huge) return mapping;

  char* start = static_cast<char*>(mapping);
  size_t head = (kHugePage - reinterpret_cast<uintptr_t>(start) % kHugePage) % kHugePage;
  if (head > 0) munmap(start, head);
  if (slack - head > 0) munmap(start + head + length, slack - head);
  madvise(start + head, length, MADV_HUGEPAGE);  // a wish; without it the pages are small
  return start + head;
}

void release_pages(void* address, size_t bytes) {
  if (address) munmap(address, whole_pages(bytes));
}

uint64_t available_memory() {
  uint64_t bytes = static_cast<uint64_t>(std::max(0L, sysconf(_SC_AVPHYS_PAGES))) * sysconf(_SC_PAGESIZE);
  std::ifstream file("/proc/meminfo");
  for (std::string line; std::getline(file, line);) {
    if (line.compare(0, 13, "MemAvailable:") != 0) continue;
    bytes = std::strtoull(line.c_str() + 13, nullptr, 10) * 1024;
    break;
  }
  return std::min(bytes, cgroup_available_memory());
}

// --- processor ---

CpuFeatures cpu_features() {
  CpuFeatures features;
#if defined(__x86_64__) || defined(__i386__)
  __builtin_cpu_init();  // these answers include whether the system saves the registers
  unsigned eax, ebx, ecx = 0, edx;
  bool f16c = __get_cpuid(1, &eax, &ebx, &ecx, &edx) && (ecx & bit_F16C);  // a name not every compiler has
  features.avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && f16c;
  constexpr unsigned kAvxVnni = 1u << 4;  // of leaf 7.1's eax
  features.avx_vnni = features.avx2 && __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) && (eax & kAvxVnni);
  features.avx512 = features.avx2 && __builtin_cpu_supports("avx512f") &&
                    __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                    __builtin_cpu_supports("avx512vl");
  features.avx512_vnni = features.avx512 && __builtin_cpu_supports("avx512vnni");
  features.avx512_bf16 = features.avx512 && __builtin_cpu_supports("avx512bf16");
  features.intel = __builtin_cpu_is("intel");
#elif defined(__aarch64__)
  features.arm_dotprod = (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
  constexpr unsigned long kI8mm = 1ul << 13;  // HWCAP2_I8MM, a name that older headers lack
  features.arm_i8mm = features.arm_dotprod && (getauxval(AT_HWCAP2) & kI8mm) != 0;
#endif
  return features;
}

std::string cpu_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.compare(0, 10, "model name") != 0) continue;
    size_t colon = line.find(": ");
    if (colon != std::string::npos) return line.substr(colon + 2);
  }
#if defined(__aarch64__)
  return "unknown ARM64 processor";
#else
  return "unknown processor";
#endif
}

// --- dynamic libraries ---

void* open_library(const std::string& path, std::string* problem) {
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr && problem != nullptr) *problem = dlerror();
  return library;
}

void* library_symbol(void* library, const char* name) { return dlsym(library, name); }

std::string own_folder() {
  Dl_info info;
  if (!dladdr(reinterpret_cast<void*>(&own_folder), &info) || !info.dli_fname) return ".";
  std::unique_ptr<char, void (*)(void*)> resolved(realpath(info.dli_fname, nullptr), std::free);
  std::string path = resolved ? resolved.get() : info.dli_fname;
  size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

}  // namespace kvasir::platform
