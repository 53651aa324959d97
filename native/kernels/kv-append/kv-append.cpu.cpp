// Appending to the paged cache on the CPU.
//
// A run is a stretch of a sequence's tokens whose positions lie in one block. Work is divided into pairs of a
// key/value head and the runs that start among 32 tokens, together with the query heads of that group: two
// tokens of a run share the cache lines of every channel of their keys, so one thread writes them all. A few
// tokens are done by the calling thread.
//
// Bound by the key's stores, one a channel and token; reads k and v once, q is read and written once.

#include "kernels/kv-append/kv-append.h"

#include <type_traits>

#include "device/cpu/parallel.h"
#include "device/cpu/rows.h"
#include "kernels/kv-append/cache-element.cpu.h"
#include "kernels/rope/rotation.cpu.h"

namespace kvasir::KVASIR_ISA {

namespace {

constexpr int64_t kMaxHeadSize = 256;

// Below this many elements of q, k and v, about 10 us, waking others does not pay.
constexpr int64_t kElementsForOneThread = 1 << 14;

// Tokens begin to end - 1 of a sequence lie in one block, the first of them at `place`.
struct Run {
  int64_t begin, end;
  int64_t block, place;
};

// One key or value of `count` elements; `scale` is where a type with scales keeps its own.
template <typename T>
void store_elements(const float* x, int64_t count, T* to, float* scale) {
  if constexpr (std::is_same_v<T, Int8Element>) {
    *scale = int8_scale(x, count);
    const float inverse = *scale >= 0x1p-100f ? 1 / *scale : 0;
    for (int64_t i = 0; i < count; i++) store_rounded(to + i, x[i], inverse);
  } else {
    int64_t i = 0;
    for (; i + kWidth <= count; i += kWidth) store_elements(to + i, load(x + i));
    for (; i < count; i++) store_element(to + i, x[i]);
  }
}

template <typename T>
void append_keys(const KvAppend& a, const Run& run, int64_t head) {
  const int64_t D = a.cache.D;
  T* keys = reinterpret_cast<T*>(a.cache.keys(run.block, head)) + run.place;
  float* scale = a.cache.key_scales(run.block, head) + run.place;
  float rotated[kMaxHeadSize];
  T key[kMaxHeadSize];
  for (int64_t n = run.begin; n < run.end; n++, keys++, scale++) {
    const float* k = floats(a.k) + n * a.k_stride + head * D;
    if (n + kRowsAhead < run.end) fetch_row(k + kRowsAhead * a.k_stride, D);
    if (a.table != nullptr) {
      rotate_head(k, a.table + n * 2 * a.P, D, a.P, a.interleaved, rotated);
      k = rotated;
    }
    store_elements(k, D, key, scale);
    for (int64_t d = 0; d < D; d++) keys[d * kBlockTokens] = key[d];
  }
}

template <typename T>
void append_values(const KvAppend& a, const Run& run, int64_t head) {
  const int64_t D = a.cache.D, DP = KvCacheLayer::padded(D);
  T* values = reinterpret_cast<T*>(a.cache.values(run.block, head)) + run.place * DP;
  float* scale = a.cache.value_scales(run.block, head) + run.place;
  for (int64_t n = run.begin; n < run.end; n++, values += DP, scale++) {
    const float* v = floats(a.v) + n * a.v_stride + head * D;
    if (n + kRowsAhead < run.end) fetch_row(v + kRowsAhead * a.v_stride, D);
    store_elements(v, D, values, scale);
    for (int64_t d = D; d < DP; d++) values[d] = {};
  }
}

using AppendRun = void(const KvAppend& a, const Run& run, int64_t head);

template <typename T>
void append_run(const KvAppend& a, const Run& run, int64_t head) {
  append_keys<T>(a, run, head);
  append_values<T>(a, run, head);
}

AppendRun* select_append(DType dtype) {
  switch (dtype) {
    case DType::kF16:
      return append_run<F16Element>;
    case DType::kBF16:
      return append_run<BF16Element>;
    case DType::kQ8:
      return append_run<Int8Element>;
    default:
      return append_run<float>;
  }
}

void rotate_queries(const KvAppend& a, const Run& run, int64_t head) {
  const int64_t D = a.cache.D, first = head * a.H / a.cache.KH, last = (head + 1) * a.H / a.cache.KH;
  for (int64_t n = run.begin; n < run.end; n++) {
    for (int64_t h = first; h < last; h++) {
      float* q = floats(a.q) + n * a.q_stride + h * D;
      rotate_head(q, a.table + n * 2 * a.P, D, a.P, a.interleaved, q);
    }
  }
}

// The sequence that owns token n.
int64_t sequence_of(const StepTables& t, int64_t n) {
  int64_t low = 0, high = t.S;
  while (high - low > 1) {
    const int64_t middle = (low + high) / 2;
    (t.query_starts[middle] <= n ? low : high) = middle;
  }
  return low;
}

Run run_at(const StepTables& t, int64_t s, int64_t n) {
  const int64_t last = t.query_starts[s + 1];
  const int64_t position = t.context_lengths[s] - (last - n), place = position % kBlockTokens;
  const int64_t end = n + kBlockTokens - place;
  return {n, end < last ? end : last, t.block_tables[s * t.W + position / kBlockTokens], place};
}

// The runs whose first token is one of begin to end - 1.
template <typename F>
void for_each_run(const StepTables& t, int64_t begin, int64_t end, const F& body) {
  int64_t s = sequence_of(t, begin), n = begin;
  if (n > t.query_starts[s]) {  // inside a run of the chunk before?
    const int64_t place = (t.context_lengths[s] - (t.query_starts[s + 1] - n)) % kBlockTokens;
    if (place > 0) n = run_at(t, s, n).end;
  }
  while (n < end) {
    while (t.query_starts[s + 1] <= n) s++;
    const Run run = run_at(t, s, n);
    body(run);
    n = run.end;
  }
}

}  // namespace

void kv_append(const KvAppend& a, Execution& execution) {
  const StepTables& t = a.tables;
  const int64_t KH = a.cache.KH, chunks = (t.N + kBlockTokens - 1) / kBlockTokens;
  AppendRun* append = select_append(a.cache.dtype);
  const int64_t elements = t.N * (2 * KH + (a.table != nullptr ? a.H : 0)) * a.cache.D;
  const int64_t grain = elements < kElementsForOneThread ? chunks * KH : 1;
  parallel_for(execution, chunks * KH, grain, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; i++) {
      const int64_t head = i / chunks, first = i % chunks * kBlockTokens;
      const int64_t last = first + kBlockTokens < t.N ? first + kBlockTokens : t.N;
      for_each_run(t, first, last, [&](const Run& run) {
        append(a, run, head);
        if (a.table != nullptr) rotate_queries(a, run, head);
      });
    }
  });
}

}  // namespace kvasir::KVASIR_ISA
