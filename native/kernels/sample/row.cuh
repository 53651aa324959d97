#pragma once

// A row of logits in windows of 256, and the sampler's block at work on it. A window is a warp's: lane l has the
// logits l, l + 32, ... l + 224 of it, so that every load is of neighbours, wherever a row starts.

#include <cfloat>
#include <climits>
#include <limits>

#include "device/cuda/arithmetic.cuh"
#include "device/cuda/cuda.h"
#include "kernels/sample/sample.h"

namespace kvasir::cuda::sampling {

constexpr int kWarps = 16;
constexpr int kThreads = 32 * kWarps;
constexpr int kEach = 8;  // logits of a lane
constexpr int kWindow = 32 * kEach;
constexpr int kGroups = 8;            // of a window, 32 logits in each
constexpr int kMostCollected = 4096;  // what 32 KiB of shared memory hold: a window of candidates a warp
constexpr int kNoId = INT_MAX;
constexpr float kInfinity = std::numeric_limits<float>::infinity();
static_assert(kWindow == kSampleWindow && kMostCollected == kWarps * kWindow);

__device__ __forceinline__ int lane() { return static_cast<int>(threadIdx.x % 32); }
__device__ __forceinline__ int warp() { return static_cast<int>(threadIdx.x / 32); }

// Unsigned integers in the order of the floats, and back. -0 counts as 0.
__device__ __forceinline__ uint32_t order_key(float x) {
  const uint32_t bits = __float_as_uint(x + 0.0f);
  return bits ^ (bits >> 31 ? 0xffffffffu : 0x80000000u);
}
__device__ __forceinline__ float from_order_key(uint32_t key) {
  return __uint_as_float(key ^ (key >> 31 ? 0x80000000u : 0xffffffffu));
}

// A logit and its id, in the order of logits, lower ids above higher ones.
__device__ __forceinline__ uint64_t pack_best(float logit, int id) {
  return uint64_t{order_key(logit)} << 32 | ~static_cast<uint32_t>(id);
}
__device__ __forceinline__ float logit_of(uint64_t best) {
  return from_order_key(static_cast<uint32_t>(best >> 32));
}
__device__ __forceinline__ int id_of(uint64_t best) { return static_cast<int>(~static_cast<uint32_t>(best)); }

// Probability of a logit over that of the row's largest.
struct Softmax {
  float largest, inverse;  // 1 / temperature
  __device__ float operator()(float logit) const { return exponential((logit - largest) * inverse); }
};

// How far a logit is from the largest: -log of its probability, but for a constant.
__device__ __forceinline__ float distance_of(const Softmax& softmax, float logit) {
  return product(difference(softmax.largest, logit), softmax.inverse);
}
// That times the probability; 0 where the probability is, since the distance may be infinite there.
__device__ __forceinline__ float weighted_distance(const Softmax& softmax, float logit) {
  const float p = softmax(logit);
  return p > 0 ? product(p, distance_of(softmax, logit)) : 0.0f;
}

struct Row {
  int V, windows;
  // Of every window, in scratch:
  uint64_t* best;  // largest logit, see pack_best
  double* plain;   // sum of e^(logit - largest in the window)
  double* sums;    // of e^((logit - largest in it) / temperature), then of what a token is drawn by
  float* maxima;   // (windows, kGroups): the largest logits of the groups
  int* counts;     // of its candidates, then of those before it
  // Where tokens are chosen from another matrix than the model's logits, null elsewhere:
  double* distances;     // sums for typical sampling, see reduce_distances
  float* plain_largest;  // of the model's logits, which `plain` then is of
  // Of the row, once all its windows are there:
  Softmax softmax;
  int first_largest;      // id
  float plain_reference;  // largest of the model's logits
  double plain_sum;       // of e^(logit - plain_reference)
  double sum;             // of softmax(logit)
  double distance_sum;    // of softmax(logit) times the distance from the largest
};

__device__ inline Row row_in(std::byte* scratch, int V, bool adjusted) {
  Row row{};
  row.V = V;
  row.windows = (V + kWindow - 1) / kWindow;
  row.best = reinterpret_cast<uint64_t*>(scratch);
  row.plain = reinterpret_cast<double*>(row.best + row.windows);
  row.sums = row.plain + row.windows;
  row.distances = adjusted ? row.sums + row.windows : nullptr;
  row.maxima = reinterpret_cast<float*>(row.sums + (adjusted ? 2 : 1) * row.windows);
  row.counts = reinterpret_cast<int*>(row.maxima + row.windows * kGroups);
  row.plain_largest = adjusted ? reinterpret_cast<float*>(row.counts + row.windows) : nullptr;
  return row;
}

// Calls body(w) for the windows of a thread, in ascending order, where threads take neighbouring ones.
template <class Body>
__device__ __forceinline__ void for_each_in_chunk(int windows, const Body& body) {
  const int each = (windows + kThreads - 1) / kThreads;
  const int begin = static_cast<int>(threadIdx.x) * each;
  const int end = begin + each < windows ? begin + each : windows;
#pragma unroll 1
  for (int w = begin; w < end; w++) body(w);
}

// An interval of order keys in which a list in descending order of logits reaches a target weight.
struct Interval {
  uint32_t low, span;  // low <= key <= low + span
  int count;           // elements in it
  double above;        // weight of everything above it
  double through;      // `above` and its own
  bool reached;        // false: the whole list has less than the target, and ends in it
};

// A window in which a running sum exceeds something, and the sum before it.
struct Position {
  int window;
  double before;
};

struct Workspace {
  float logits[kMostCollected];
  int ids[kMostCollected];
  uint32_t bucket_counts[kThreads];
  uint32_t bucket_low[kThreads], bucket_high[kThreads];  // halves of 64-bit sums
  Interval interval;
  Position position;
  int token;
  bool last;
  double sums[kWarps + 1];
  uint64_t largest[kWarps];
  int ranks[32];
};

__device__ __forceinline__ Workspace& workspace() {
  __shared__ Workspace shared;
  return shared;
}

__device__ __forceinline__ double sum_lanes(double x) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) x += __shfl_xor_sync(kAllLanes, x, offset);
  return x;
}

// The sum of this lane's x and those of all lanes before it.
__device__ __forceinline__ double scan_lanes(double x) {
#pragma unroll
  for (int offset = 1; offset < 32; offset *= 2) {
    const double before = __shfl_up_sync(kAllLanes, x, offset);
    if (lane() >= offset) x += before;
  }
  return x;
}

__device__ __forceinline__ uint64_t largest_of_lanes(uint64_t x) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) {
    const uint64_t other = __shfl_xor_sync(kAllLanes, x, offset);
    x = x < other ? other : x;
  }
  return x;
}

__device__ inline uint64_t largest_of_block(uint64_t x) {
  Workspace& shared = workspace();
  x = largest_of_lanes(x);
  __syncthreads();  // the last use of shared.largest is over
  if (lane() == 0) shared.largest[warp()] = x;
  __syncthreads();
  return largest_of_lanes(shared.largest[lane() % kWarps]);
}

// A sum of one number a thread: of those of the threads before this one, and of all.
struct Scan {
  double before, total;
};
__device__ __noinline__ inline Scan scan_block(double x) {
  Workspace& shared = workspace();
  const double through = scan_lanes(x);
  double before = __shfl_up_sync(kAllLanes, through, 1);
  if (lane() == 0) before = 0;
  __syncthreads();  // the last use of shared.sums is over
  if (lane() == 31) shared.sums[warp() + 1] = through;
  __syncthreads();
  // Lane w has the sum of the warps before w, lane kWarps that of all.
  const double warps = scan_lanes(lane() > 0 && lane() <= kWarps ? shared.sums[lane()] : 0.0);
  before += __shfl_sync(kAllLanes, warps, warp());
  return {before, __shfl_sync(kAllLanes, warps, kWarps)};
}

// The first thread that `exceeds`; where none does, the last that `counts`. One must.
__device__ __noinline__ inline int choose_thread(bool exceeds, bool counts) {
  const int thread = static_cast<int>(threadIdx.x);
  const int rank = block_max(exceeds ? 2 * kThreads - thread : counts ? thread + 1 : 0, workspace().ranks);
  return rank > kThreads ? 2 * kThreads - rank : rank - 1;
}

}  // namespace kvasir::cuda::sampling
