// One thread takes a row: a pass over `allowed` for the maxima of groups of tokens, which give a bound that only few
// tokens reach, a look at the groups that do, and two passes over the logits for the sum of e^(logit - maximum). The list
// is kept sorted while it is filled. 12 bytes a token are read, nothing of rows whose count is 0.

#include "kernels/top-logits/top-logits.h"

#include "device/cpu/rows.h"
#include "kernels/sample/groups.cpu.h"

namespace kvasir::KVASIR_ISA {

// In descending order, equals in the order in which they came.
struct List {
  float values[kMostListed];
  int32_t ids[kMostListed];
  int64_t size, most;

  void add(float value, int32_t id) {
    if (size == most && !(value > values[size - 1])) return;
    if (size < most) size++;
    int64_t place = size - 1;
    for (; place > 0 && value > values[place - 1]; place--) {
      values[place] = values[place - 1];
      ids[place] = ids[place - 1];
    }
    values[place] = value;
    ids[place] = id;
  }
};

static void fill_list(const Groups& allowed, List& list) {
  if (list.most == 0 || !(allowed.largest > -kInfinity) || allowed.largest == kInfinity) return;
  const float bound = top_k_bound(allowed, list.most);
  for_each_reaching(allowed, bound,
                    [&](int64_t id) { list.add(allowed.logits[id], static_cast<int32_t>(id)); });
}

static void top_row(const TopLogits& p, int64_t r, std::byte* scratch) {
  int32_t* ids = p.top_ids + r * p.most;
  float* logprobs = p.top_logprobs + r * p.most;
  List list;
  list.size = 0;
  list.most = p.counts[r] < p.V ? p.counts[r] : p.V;
  if (list.most > 0) {
    const float* logits = floats(p.logits) + r * p.logits_stride;
    const LogSum sum = log_sum(logits, p.V);
    if (sum.is_usable())
      fill_list(groups_of(p.allowed + r * p.allowed_stride, p.V, reinterpret_cast<float*>(scratch)), list);
    for (int64_t i = 0; i < list.size; i++) {
      ids[i] = list.ids[i];
      logprobs[i] = sum.log_probability(logits[list.ids[i]]);
    }
  }
  for (int64_t i = list.size; i < p.most; i++) {
    ids[i] = -1;
    logprobs[i] = -kInfinity;
  }
}

void top_logits(const TopLogits& p, Execution& execution) {
  const int64_t scratch_bytes = top_logits_scratch_bytes_per_thread(p.V);
  parallel_rows(execution, p.R, p.V,
                [&](int64_t r, int thread) { top_row(p, r, execution.scratch + thread * scratch_bytes); });
}

}  // namespace kvasir::KVASIR_ISA
