#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace kvasir::cuda {

// The part of the CUDA runtime that Kvasir uses: runtime.cpp for devices, emulator/runtime.cpp for the CPU.
// Everything throws Error(kDevice), allocations Error(kOutOfMemory), with the runtime's own words.

struct DeviceInfo {
  char name[256];
  int32_t architecture;  // compute capability: 90 for 9.0
  int32_t multiprocessors;
  int64_t memory_bytes, free_bytes;
  int64_t shared_bytes;  // that a block may have
  int64_t l2_bytes;
  int32_t driver_version, runtime_version;  // 13000 for 13.0
};

int device_count();
DeviceInfo device_info(int device);

// Of `device`, plain memory. 256-byte aligned.
std::byte* allocate(int device, int64_t bytes);
void release(int device, std::byte* memory);
// Of the host, page-locked: what copies go through.
std::byte* allocate_pinned(int64_t bytes);
void release_pinned(std::byte* memory);

// A captured sequence of launches and copies.
class Graph {
 public:
  struct Implementation;
  explicit Graph(std::unique_ptr<Implementation> implementation);
  ~Graph();
  Implementation& operator*() const { return *implementation_; }

 private:
  std::unique_ptr<Implementation> implementation_;
};

// A moment in a stream, for timing and for waiting.
class Event {
 public:
  struct Implementation;
  explicit Event(int device);
  ~Event();
  bool reached() const;
  // From `start` to this, in ms. Both must have been reached.
  double milliseconds_since(const Event& start) const;
  Implementation& operator*() const { return *implementation_; }

 private:
  std::unique_ptr<Implementation> implementation_;
};

// Work of a device in order. Calls return before the work is done.
class Stream {
 public:
  struct Implementation;
  explicit Stream(int device);
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  // Host memory must be pinned and stay as it is until the copy is done.
  void copy_to_device(std::byte* to, const std::byte* from, int64_t bytes);
  void copy_to_host(std::byte* to, const std::byte* from, int64_t bytes);
  void copy_on_device(std::byte* to, const std::byte* from, int64_t bytes);
  // `height` pieces of `width` bytes.
  void copy_pieces_to_device(std::byte* to, int64_t to_pitch, const std::byte* from, int64_t from_pitch,
                             int64_t width, int64_t height);
  void fill(std::byte* to, uint8_t byte, int64_t bytes);
  void record(Event& event);
  // Returns when all work is done. Throws what went wrong in it.
  void synchronize();

  // What is asked of the stream between the two is captured, not done.
  void begin_capture();
  std::unique_ptr<Graph> end_capture();
  void launch(const Graph& graph);

  int device() const { return device_; }
  Implementation& operator*() const { return *implementation_; }

 private:
  int device_;
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace kvasir::cuda
