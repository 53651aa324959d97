#pragma once

#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "backends/cuda-module.h"
#include "types/error.h"

namespace kvasir::cuda {

// Whether CUDA devices can be used, and why not.
struct Availability {
  const Module* module = nullptr;
  int devices = 0;
  std::string reason;  // in words for the user; empty where there is a device
};

// Opens the CUDA library at `path` (empty: beside the addon). The answer for a path is kept. A library that is not
// emulated is opened only where the driver's is there.
Availability find_module(const std::string& path);

// Throws what a function of the module's table reported.
void check(const Module& module, int status);

// A captured sequence of work.
class CapturedGraph {
 public:
  CapturedGraph(const Module& module, Graph* graph) : module_(module), graph_(graph) {}
  ~CapturedGraph() { module_.destroy_graph(graph_); }
  CapturedGraph(const CapturedGraph&) = delete;
  CapturedGraph& operator=(const CapturedGraph&) = delete;
  const Graph* get() const { return graph_; }

 private:
  const Module& module_;
  Graph* graph_;
};

// One device with one stream of work: memory that is kept for the next one who asks, page-locked staging, and the
// space that kernels share. Safe from many threads.
class Device {
 public:
  // Throws Error(kDevice) when the device cannot be used.
  Device(const Module& module, int index);
  ~Device() { close(); }
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  const Module& module() const { return module_; }
  int index() const { return index_; }
  const DeviceInfo& info() const { return info_; }
  Stream* stream() const { return stream_; }
  uint32_t* counters() const { return reinterpret_cast<uint32_t*>(counters_); }

  // Memory filled with zeros (in the stream's order), from the cache where it has some of that size. Throws
  // Error(kOutOfMemory) with what was asked for and what there is.
  std::byte* allocate(int64_t bytes);
  void release(std::byte* memory, int64_t bytes);
  // Bytes that can still be taken: what the driver has, and what is cached here.
  int64_t available_bytes() const;

  // Page-locked memory; taken back once the copies that use it are done.
  std::byte* allocate_pinned(int64_t bytes);
  void release_pinned(std::byte* memory, int64_t bytes);

  // All work that was asked of the stream is done afterwards.
  void synchronize();
  void read(void* to, const std::byte* from, int64_t bytes);
  void write(std::byte* to, const void* from, int64_t bytes);
  // Within the device's memory, in the stream's order.
  void copy(std::byte* to, const std::byte* from, int64_t bytes);

 private:
  void close() noexcept;
  std::byte* take(int64_t rounded);
  void empty_cache();

  const Module& module_;
  const int index_;
  DeviceInfo info_{};
  Stream* stream_ = nullptr;
  std::byte* counters_ = nullptr;
  std::byte* landing_ = nullptr;  // page-locked, for reads and writes

  mutable std::mutex mutex_;                                   // of what follows
  std::multimap<int64_t, std::byte*> cached_, cached_pinned_;  // by size
  int64_t cached_bytes_ = 0;
  std::mutex landing_mutex_;
};

}  // namespace kvasir::cuda
