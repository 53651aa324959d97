#pragma once

// As `sample` does it: several blocks share a row, each warp reduces windows of both matrices, and the block that comes
// last finds a bound by the windows' maxima, collects the few tokens that reach it, cuts them to those that are wanted and
// ranks these, each thread by counting what stands above its own. Rows whose count is 0 are not read.

#include "kernels/sample/rules.cuh"
#include "kernels/sample/windows.cuh"
#include "kernels/top-logits/top-logits.h"

namespace kvasir::cuda::sampling {

struct Listed {
  uint64_t tokens[kMostListed];  // see pack_best
  int ids[kMostListed];          // in their order
  int count;
};
__device__ __forceinline__ Listed& listed() {
  __shared__ Listed shared;
  return shared;
}
static_assert(kMostListed <= kThreads);

// Puts the `wanted` largest tokens into listed().tokens, in any order.
__device__ __noinline__ inline void list_largest(const Row& row, const Tokens<float>& all, int wanted) {
  constexpr int kEnough = 32;
  const Cut whole{-FLT_MAX, kNoId};
  const Interval in = narrow(Maxima{row.maxima, row.windows * kGroups}, -FLT_MAX, whole, row.softmax.largest,
                             nullptr, wanted, kEnough);
  const Cut reached{in.reached ? from_order_key(in.low) : -FLT_MAX, kNoId};
  const Tokens<float> tokens = collect(row, all, reached.logit);
  const Cut cut = find_cut(row, tokens, reached, reached, nullptr, wanted);
  Listed& shared = listed();
  for_each(tokens, [&](float x, int id) {
    if (!cut.keeps(x, id)) return;
    const int slot = atomicAdd(&shared.count, 1);
    if (slot < kMostListed) shared.tokens[slot] = pack_best(x, id);
  });
  __syncthreads();
}

// Puts the list into its order.
__device__ __forceinline__ void rank_listed() {
  Listed& shared = listed();
  const int thread = static_cast<int>(threadIdx.x);
  if (thread < shared.count) {
    const uint64_t own = shared.tokens[thread];
    int above = 0;
    for (int i = 0; i < shared.count; i++)
      if (shared.tokens[i] > own) above++;
    shared.ids[above] = id_of(own);
  }
  __syncthreads();
}

// A thread writes a token; what is left of the row is empty.
template <class T>
__device__ __forceinline__ void write_listed(const TopLogits& p, int64_t r, const Row& row,
                                             const Tokens<T>& logits, uint32_t count) {
  for (uint32_t i = threadIdx.x; i < p.most; i += kThreads) {
    const int id = i < count ? listed().ids[i] : -1;
    p.top_ids[r * p.most + i] = id;
    p.top_logprobs[r * p.most + i] =
        i < count ? log_probability(row, to_float(logits.logits[id])) : -kInfinity;
  }
}

template <class T>
__global__ void __launch_bounds__(kThreads, 2)
    top_logits_kernel(TopLogits p, std::byte* scratch, int64_t row_bytes, uint32_t* counters) {
  ptx::let_successor_start();
  ptx::wait_for_predecessor();
  const int64_t r = blockIdx.y;
  const int V = static_cast<int>(p.V);
  const int wanted = p.counts[r] < V ? p.counts[r] : V;
  Row row = row_in(scratch + r * row_bytes, V, true);
  const Tokens<T> logits{static_cast<const T*>(p.logits) + r * p.logits_stride, V, false};
  const Tokens<float> allowed{p.allowed + r * p.allowed_stride, V, false};
  if (wanted == 0) {
    if (blockIdx.x == 0) write_listed(p, r, row, logits, 0);
    return;
  }
  const int warps = static_cast<int>(gridDim.x) * kWarps;
#pragma unroll 1
  for (int w = static_cast<int>(blockIdx.x) * kWarps + warp(); w < row.windows; w += warps) {
    reduce_plain(row, logits, w);
    read_window(row, allowed, w, true);
  }
  if (!arrives_last(counters + r)) return;
  combine_plain(row);
  row.softmax = {logit_of(largest_of_windows(row)), 1};
  if (threadIdx.x == 0) listed().count = 0;
  __syncthreads();
  const bool finite = row.softmax.largest > -kInfinity && row.softmax.largest < kInfinity;
  if (is_usable(row) && finite) {
    list_largest(row, allowed, wanted);
    rank_listed();
  }
  write_listed(p, r, row, logits, static_cast<uint32_t>(listed().count));
}

template <class T>
void launch_top_logits(const TopLogits& p, Execution& e) {
  if (p.R == 0) return;
  launch(e, top_logits_kernel<T>, shape_of_rows(p.R, p.V, e), p, e.scratch,
         top_logits_cuda_scratch_bytes(1, p.V), e.counters);
}

}  // namespace kvasir::cuda::sampling
