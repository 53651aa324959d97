#pragma once

// Everything that belongs to the operating system or the processor's identification. A port to another
// system is another implementation of this header (linux.cpp is the one that exists).

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace kvasir::platform {

// --- threads ---

// Processors this process may really use: the smaller of its affinity mask and its cgroup CPU quota
// (rounded up), at least 1.
int available_processors();

// Lets the processor rest for a moment inside a spin loop.
void cpu_relax();

// Sleeps while `word` holds `expected`; may wake without cause.
void wait_on(const std::atomic<uint32_t>& word, uint32_t expected);
void wake_all(const std::atomic<uint32_t>& word);

// Names the calling thread for debuggers and `top -H`; at most 15 characters are kept.
void name_thread(const char* name);

// --- memory ---

// Zero-filled pages that take up memory only when touched, aligned to 64 bytes at least, backed by huge
// pages where the system agrees. Throws Error(kOutOfMemory) when the address space cannot be had.
void* reserve_pages(size_t bytes);
void release_pages(void* address, size_t bytes);

// Bytes of memory that can be taken without swapping, within the cgroup's limit.
uint64_t available_memory();

// --- files ---

// An open regular file, read with positioned reads. Throws Error(kFileNotFound) when it cannot be opened
// and Error(kFileFormat) when it is no regular file (a folder, FIFO, device or socket is never opened for reading).
class File {
 public:
  explicit File(const std::string& path);
  ~File();
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  const std::string& path() const { return path_; }
  uint64_t size() const { return size_; }

  // Reads exactly `bytes` at `offset`, resuming short and interrupted reads. Throws Error(kFileTruncated)
  // when the file ends before, and Error(kFileChanged) on an input error. Safe from many threads.
  void read(uint64_t offset, void* destination, size_t bytes) const;

  // Throws Error(kFileChanged) when size, modification time or identity differ from when it was opened.
  void check_unchanged() const;

 private:
  std::string path_;
  int descriptor_ = -1;
  uint64_t size_ = 0, device_ = 0, inode_ = 0;
  int64_t modified_ns_ = 0;
};

// --- processor ---

struct CpuFeatures {
  bool avx2 = false;  // with FMA and F16C
  bool avx_vnni = false;
  bool avx512 = false;  // F, BW, DQ, VL
  bool avx512_vnni = false;
  bool avx512_bf16 = false;
  bool arm_dotprod = false;  // products of bytes
  bool arm_i8mm = false;     // matrices of bytes
  bool intel = false;
};
CpuFeatures cpu_features();
std::string cpu_name();

// --- dynamic libraries ---

// Opens a shared library; null when it cannot be, and the system's words for it in `*problem`. Never closed.
void* open_library(const std::string& path, std::string* problem = nullptr);
void* library_symbol(void* library, const char* name);
// The folder of the shared library that this code is part of.
std::string own_folder();

}  // namespace kvasir::platform
