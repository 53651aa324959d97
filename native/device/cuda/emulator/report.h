#pragma once

#include <cstdint>
#include <string>

#include "device/cuda/emulator/block.h"

// How blocks and threads are named in messages.
namespace kvasir::cuda::emulator {

inline std::string text(uint3 v) {
  return "(" + std::to_string(v.x) + "," + std::to_string(v.y) + "," + std::to_string(v.z) + ")";
}

// Threads as ranges: 0-31, 64.
class Ranges {
 public:
  void add(int i) {
    if (last_ >= 0 && i == last_ + 1) {
      last_ = i;
      return;
    }
    flush();
    first_ = last_ = i;
  }
  std::string text() {
    flush();
    last_ = -1;
    return text_;
  }

 private:
  void flush() {
    if (last_ < 0) return;
    if (!text_.empty()) text_ += ", ";
    text_ += std::to_string(first_);
    if (last_ > first_) text_ += "-" + std::to_string(last_);
  }
  int first_ = 0, last_ = -1;
  std::string text_;
};

inline std::string lanes_text(uint32_t lanes) {
  Ranges ranges;
  for (int lane = 0; lane < 32; ++lane) {
    if (lanes >> lane & 1) ranges.add(lane);
  }
  return ranges.text();
}

inline std::string threads_text(const Warp* warps, int num_warps, const uint32_t* lanes) {
  Ranges ranges;
  for (int w = 0; w < num_warps; ++w) {
    for (int lane = 0; lane < 32; ++lane) {
      if (lanes[w] >> lane & 1) ranges.add(warps[w].index * 32 + lane);
    }
  }
  return ranges.text();
}

}  // namespace kvasir::cuda::emulator
