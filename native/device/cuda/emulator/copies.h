#pragma once

#include <cstdint>
#include <vector>

#include "device/cuda/emulator/block.h"
#include "device/cuda/emulator/sanitizers.h"
#include "device/cuda/emulator/tensor-map.h"

namespace kvasir::cuda::emulator {

// A block's mbarriers, and the bulk copies that complete on them. Eager copies are done when they are asked
// for. Lazy ones fill their destination with NaN then, and are done when no thread can go on without, or at a
// random moment before.
class Copies {
 public:
  void reset(Block& block);

  void init(uint32_t barrier, int count, Site site);
  // Arrives, and expects so many bytes more.
  void arrive(uint32_t barrier, uint32_t bytes, const char* what, Site site);
  void wait(uint32_t barrier, uint32_t parity, Site site);

  void bulk(uint32_t to, const void* from, uint32_t bytes, uint32_t barrier, Site site);
  void tensor(uint32_t to, const TensorMap& map, int column, int row, uint32_t barrier, Site site);

  bool under_way() const { return !pending_.empty(); }
  // Does one of those under way; false if there is none.
  bool finish_one();

 private:
  struct MBarrier {
    uint32_t address;
    int count, left;  // arrivals
    int64_t bytes;    // expected, not yet arrived
    int64_t phase;
    uint32_t waiting[32];  // lanes of each warp
    Token tokens[4];       // by phase
  };
  struct Copy {
    char* to;
    const char* from;  // the first row, null for none
    int64_t from_stride;
    int rows, row_bytes;        // of the destination
    int first_row, last_row;    // that exist in the matrix
    int first_byte, last_byte;  // of each row that exist
    bool swizzled;
    uint32_t address;
    MBarrier* barrier;
    Token* asked;
  };

  MBarrier& find(uint32_t barrier, const char* what, Site site);
  void add(Copy copy);
  void finish(const Copy& copy);
  void move_all(const Copy& copy);
  void complete_if_done(MBarrier& b);
  int64_t bytes_of(const Copy& copy) const { return static_cast<int64_t>(copy.rows) * copy.row_bytes; }

  Block* block_ = nullptr;
  std::vector<MBarrier> barriers_;
  std::vector<Copy> pending_;
  Token asked_[256];  // of copies, in turn
  int next_asked_ = 0;
  static constexpr int kEngines = 8;  // one alone would seem to order all copies
  Aside engines_[kEngines];
  int next_engine_ = 0;
};

}  // namespace kvasir::cuda::emulator
