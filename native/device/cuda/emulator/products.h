#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "device/cuda/emulator/block.h"
#include "device/cuda/emulator/multiply.h"

namespace kvasir::cuda::emulator {

// One wgmma of the warpgroup.
struct Product {
  Half half;
  bool a_in_registers, b_transposed, accumulate;
  int n;
  uint64_t a, b;  // descriptors
  Site site;
};

// A block's wgmmas. The accumulators move into a tile when the first product asks for them, and NaN takes
// their place until wgmma_wait brings them back; so early reads and writes show. Lazy products are done, and
// read shared memory, at the wait; eager ones when the last thread has asked.
class Products {
 public:
  void reset(Block& block);

  void fence();
  void add(const Product& product, float* d, const uint32_t* a, Site site);
  void commit(Site site);
  // Returns when no more than `groups` are under way.
  void wait(int groups, Site site);

  bool under_way() const;

 private:
  struct Tile {
    int n = 0;
    int users = 0;              // threads whose accumulators are in it
    int pending = 0;            // products not done
    std::vector<float> values;  // (64,n)
  };
  struct Asked {
    Product product;
    int tile;
    int threads;          // that asked so far
    uint16_t a[64 * 16];  // where A comes from registers
  };
  // Of one thread: its accumulators in a tile.
  struct Held {
    float* d;
    int tile;
  };
  struct ThreadState {
    int64_t asked = 0, done = 0;  // products
    std::vector<int64_t> groups;  // products asked for at each commit
    std::vector<Held> held;
    bool fenced = false;
  };
  struct Warpgroup {
    std::deque<Asked> queue;  // not done; the first is number num_done
    int64_t num_done = 0;
    std::vector<std::unique_ptr<Tile>> tiles;
  };

  int free_tile(Warpgroup& group, int n);
  void hold(Warpgroup& group, ThreadState& thread, const Asked& asked, bool first, float* d, Site site);
  void forget(ThreadState& thread, int groups);
  void give_back(Warpgroup& group, ThreadState& thread);
  void perform_first(Warpgroup& group);

  Block* block_ = nullptr;
  Warpgroup groups_[8];
  std::vector<ThreadState> threads_;
  alignas(64) double a_[64 * kStepK], b_[kStepK * 256], b_rows_[256 * kStepK];  // of the product being done
};

}  // namespace kvasir::cuda::emulator
