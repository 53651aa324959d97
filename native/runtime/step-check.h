#pragma once

#include <string>
#include <vector>

#include "runtime/backend.h"
#include "runtime/kv-cache.h"

namespace kvasir {

// What a program's kernels will index with a step's tables, so that each step can be checked before it runs.
class StepCheck {
 public:
  StepCheck(const ProgramDescription& program, const KvCache* cache);

  // Throws Error(kInvalidValue) naming the table and the entry.
  void run(const StepState& step) const;

 private:
  struct Index {
    int input;
    Dim bound;  // entries are in [0, bound)
  };
  struct Tables {
    int query_starts, context_lengths, block_tables;
    bool operator==(const Tables&) const = default;
  };
  struct Sampling {
    int temperature, top_k, top_p, min_p, counter;
    int typical_p, forced;  // -1 for none
    int64_t V;
  };
  struct Edits {
    int starts, ids, factors, offsets, mask_rows;
    int64_t V;
  };
  struct Counts {
    int input;
    int64_t most;
  };

  void check_index(const Index& index, const StepState& step) const;
  void check_tables(const Tables& tables, const StepState& step) const;
  void check_sampling(const Sampling& sampling, const StepState& step) const;
  void check_edits(const Edits& edits, const StepState& step) const;
  void check_row_edits(const Edits& edits, const StepState& step, int64_t begin, int64_t end,
                       std::vector<bool>& seen) const;
  void check_entries(int input, const StepState& step, int64_t least, int64_t most) const;
  [[noreturn]] void refuse(int input, int64_t at, const std::string& expected,
                           const std::string& found) const;

  const ProgramDescription& program_;
  int64_t num_blocks_;
  std::vector<Index> indices_;
  std::vector<Tables> tables_;
  std::vector<Sampling> sampling_;
  std::vector<Edits> edits_;
  std::vector<Counts> counts_;
};

}  // namespace kvasir
