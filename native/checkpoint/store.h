#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "checkpoint/checkpoint-file.h"
#include "checkpoint/weight-memory.h"
#include "platform/platform.h"
#include "types/dtype.h"
#include "types/panels.h"
#include "types/tiles.h"

namespace kvasir {

class StagingPool;

// A weight to be declared. Vectors are matrices of one column (or of one row).
struct WeightShape {
  std::string name;
  DType dtype = DType::kF32;
  Layout layout = Layout::kRows;
  int64_t rows = 0, cols = 0;
};

// What a weight takes up, with its padding. Throws Error: kInvalidValue (sizes), kDType (i32).
uint64_t stored_bytes(const WeightShape& shape);

// A named weight in memory.
struct StoredTensor {
  StoredTensor() = default;
  ~StoredTensor() {
    if (data) memory->release(data, bytes);
  }
  StoredTensor(const StoredTensor&) = delete;
  StoredTensor& operator=(const StoredTensor&) = delete;

  std::string name;
  DType dtype = DType::kF32;
  Layout layout = Layout::kRows;
  int64_t rows = 0, cols = 0;
  std::shared_ptr<WeightMemory> memory;
  std::byte* data =
      nullptr;  // as kernels take it, in `memory`, aligned as it does; rows that pad it are zero
  size_t bytes = 0;
  int64_t rows_loaded = 0;
  std::vector<bool> row_loaded;
};

// Rows of one matrix that stay together where two are interleaved.
constexpr int64_t interleave_rows(Layout layout) {
  return layout == Layout::kTiles ? kTileInterleaveRows : kPanelRows;
}

// What a load takes from a file, and where it goes.
//
// Row i of the part becomes row j = row_offset + i of the stored matrix; that is how q, k and v are merged,
// each at its offset. With panel_step = 2 two matrices are interleaved by groups of G = interleave_rows(layout)
// rows, panels or an eighth of a tile: gate and up of a gated feed-forward. Row j then becomes row j % G of group
// j / G * panel_step + first_panel. Such a tensor is declared with panel_step * G * ceil(rows / G) rows; the rows
// of a group that follow a part's last row count as loaded, with zeros.
struct LoadPart {
  const platform::File* file = nullptr;
  const TensorEntry* source = nullptr;
  bool transposed = false;        // the file holds (in, out), as GPT-2's Conv1D does
  int64_t rows = -1;              // -1: as many as the stored matrix has from row_offset on
  int64_t row_offset = 0;         // with panel_step > 1: a multiple of G, counted in the part's own matrix
  int64_t source_row_offset = 0;  // the part's first row among the rows (out) of the file's tensor
  int64_t source_rows = -1;       // rows (out) that the file's tensor must have; -1: source_row_offset + rows
  int64_t panel_step = 1;
  int64_t first_panel = 0;  // from 0 to panel_step - 1
  // Rows of a head whose halves the file holds in turn: its row 2 i + h is the head's row h * paired_rows / 2 + i.
  // (GGUF files of LLaMA rotate neighbours, their models halves.) 0: rows as they are.
  int64_t paired_rows = 0;
  // Rows that others of the file's lie between, as q, k and v head by head in one matrix: after each run of so many
  // rows the next begins run_stride rows after this one. 0: all in one run.
  int64_t run_rows = 0, run_stride = 0;
  // Rows from row_offset on that this part fills, those after its last with zeros; 0: as many as it has. Not where
  // matrices are interleaved.
  int64_t filled_rows = 0;
  // Added to every number: norms that the file holds less 1 get it back. Only for f32 in rows.
  float addend = 0;
};

// Calls body(begin, end) for ranges that cover [0, items), on as many threads as it likes, and returns when
// all are done. The body does not throw.
using ParallelFor =
    std::function<void(int64_t items, const std::function<void(int64_t begin, int64_t end)>& body)>;

// A model's weights by name, in the kernels' layouts, filled from checkpoint files.
//
// One thread at a time declares and loads. Loading reads pieces into buffers of at most 2 MiB a thread and
// packs them from there, so that memory never holds more than the weights and those buffers. For a device it
// packs into staging buffers, 64 MiB of them at most, which are kept until check_complete. No copy is in flight
// when a call has returned or thrown.
class WeightStore {
 public:
  explicit WeightStore(std::shared_ptr<WeightMemory> memory = host_memory());
  ~WeightStore();

  // Reserves a matrix of zeros; a device's memory holds rows and tiles. Throws Error: kInvalidValue (sizes, a
  // layout, a name that exists), kDType (i32), kOutOfMemory (more than the memory has left,
  // counting on the host what was declared and not yet loaded).
  const StoredTensor& declare(const std::string& name, DType dtype, Layout layout, int64_t rows,
                              int64_t cols);

  // Throws Error(kOutOfMemory) as declaring all of them would, before anything is taken. Returns what they need.
  uint64_t check_room(const std::vector<WeightShape>& shapes) const;

  // Fills rows of a declared tensor, from F32, F16, BF16 or GGUF's blocks, rounding to nearest even where the stored type is
  // narrower. Returns false, with the rows still missing, when `*abort` became nonzero.
  // Throws Error: kFileFormat (the file's shape is another), kUnsupported (its dtype, or a finite number that
  // the stored type cannot hold), kFileChanged (the file changed meanwhile), kInvalidValue (a wrong part, or
  // rows that were loaded before), kDevice and kOutOfMemory (copies to a device, and buffers for them).
  [[nodiscard]] bool load(const std::string& name, const LoadPart& part, const ParallelFor& parallel,
                          const std::atomic<int32_t>* abort = nullptr);

  // Fills a whole tensor from `count` = rows * cols numbers, row-major.
  void load_values(const std::string& name, const float* values, int64_t count);

  // Writes a tensor as f32, row-major (rows, cols), rows in their stored order: interleaved matrices come out
  // in turn, a group of each.
  void copy_out(const std::string& name, float* destination) const;

  // The tensor, or null.
  const StoredTensor* find(std::string_view name) const;
  // The tensor; throws Error(kInvalidValue).
  const StoredTensor& get(const std::string& name) const;

  // In the order of their declaration.
  const std::vector<std::unique_ptr<StoredTensor>>& tensors() const { return tensors_; }
  uint64_t bytes() const { return bytes_; }
  const std::shared_ptr<WeightMemory>& memory() const { return memory_; }

  // Ends loading: gives staging buffers back. Throws Error(kFileFormat) naming a tensor whose rows are not all
  // loaded, if there is one.
  void check_complete() const;

 private:
  StoredTensor& require(const std::string& name) const;
  static uint64_t bytes_of_rows(const StoredTensor& tensor, int64_t rows);
  void check_room(const std::string& what, const std::string& name, uint64_t bytes) const;

  const std::shared_ptr<WeightMemory> memory_;
  const std::unique_ptr<StagingPool> staging_;  // null where the host addresses the memory
  std::vector<std::unique_ptr<StoredTensor>> tensors_;
  std::unordered_map<std::string_view, size_t> places_;  // keys lie in the tensors
  uint64_t bytes_ = 0, bytes_not_loaded_ = 0;
};

}  // namespace kvasir
