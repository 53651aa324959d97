#pragma once

// Which queries a block has, what they see, and how they are read and written.
//
// A row is a query head of a token. The rows of a sequence and key/value head are numbered token by token,
// the heads of the group side by side; blocks take pieces of that numbering. A sequence with a single token,
// or with few rows, is shared out by splits of its keys (decode), any other by its rows (prefill).

#include "device/cuda/vector.cuh"
#include "kernels/attention/attention-softmax.cuh"

namespace kvasir::cuda::attend {

constexpr int kBlockKeys = static_cast<int>(kBlockTokens);
constexpr int kDecodeRows = static_cast<int>(kAttentionDecodeRows);

// What splits leave for the block that adds them; row r of sequence s and key/value head h is number
// (s * KH + h) * rows + r.
struct Partials {
  float* y;      // (S*KH*rows,splits,DP) sums of channels
  RowSum* sums;  // (S*KH*rows,splits)
  uint32_t* counters;
  int rows, splits;
};

template <class T>
struct Arguments {
  const T* q;  // (N,H,D), rows q_stride apart
  T* y;        // (N,H,D), rows y_stride apart
  const std::byte*
      cache;  // (num_blocks,KH), in each keys, values and, of bytes, scales: kv-cache.h, by position
  int64_t head_bytes, values_at,
      scales_at;  // of a head in a block: all of it, and where its values and scales begin
  bool bytes;     // int8, else T
  int64_t q_stride, y_stride;
  const int32_t* query_starts;     // (S+1,)
  const int32_t* context_lengths;  // (S,)
  const int32_t* block_tables;     // (S,W)
  int64_t W;
  int S, KH, group, D, DP;
  int window;           // 0 for none
  const float* slopes;  // (H,) or null
  ScoreRule rule;
  Partials partials;
};

// Rows first to first + count - 1 of a sequence and key/value head: `count` is 0 where there is nothing to
// do.
struct QueryRows {
  int sequence, head;
  int start, tokens;  // of the sequence in the step
  int context;
  int first, count;
};

__device__ __forceinline__ int smaller(int a, int b) { return a < b ? a : b; }
__device__ __forceinline__ int larger(int a, int b) { return a > b ? a : b; }

// Up to `size` rows from `first` on.
template <class T>
__device__ __forceinline__ QueryRows rows_of(const Arguments<T>& a, int sequence, int head, int first,
                                             int size) {
  const int start = a.query_starts[sequence], tokens = a.query_starts[sequence + 1] - start;
  const int context = a.context_lengths[sequence];
  const int count = context < tokens ? 0 : larger(0, smaller(size, tokens * a.group - first));
  return {sequence, head, start, tokens, context, first, count};
}

// Whether the sequence's splits are shared among blocks.
__device__ __forceinline__ bool is_decode(int tokens, int group) {
  return tokens == 1 || tokens * group <= kDecodeRows;
}

// Pieces of kRows rows of one head are numbered sequence by sequence. The first number of a sequence follows
// from the tokens before it, without a table; so a sequence may have a number more than pieces, and that
// piece has no rows.
template <int kRows>
__host__ __device__ __forceinline__ int first_piece(int tokens_before, int sequence, int group) {
  return tokens_before * group / kRows + sequence;
}

// The rows of a piece; for whole blocks.
template <int kRows, class T>
__device__ __forceinline__ QueryRows find_rows(const Arguments<T>& a, int piece, int head) {
  int started = 0;  // sequences whose first piece is this one or before
  for (int begin = 0; begin < a.S; begin += static_cast<int>(blockDim.x)) {
    const int s = begin + static_cast<int>(threadIdx.x);
    const bool before = s < a.S && first_piece<kRows>(a.query_starts[s], s, a.group) <= piece;
    started += __syncthreads_count(before);
  }
  const int sequence = started - 1;
  const int local = piece - first_piece<kRows>(a.query_starts[sequence], sequence, a.group);
  return rows_of(a, sequence, head, local * kRows, kRows);
}

// What the i-th row sees.
template <class T>
__device__ __forceinline__ KeyRange visible_keys(const Arguments<T>& a, const QueryRows& rows, int i) {
  const int position = rows.context - rows.tokens + (rows.first + i) / a.group;
  return {a.window > 0 ? larger(0, position - a.window + 1) : 0, position + 1};
}

// What any of the rows from `first` to `last` sees.
template <class T>
__device__ __forceinline__ KeyRange visible_keys(const Arguments<T>& a, const QueryRows& rows, int first,
                                                 int last) {
  return {visible_keys(a, rows, first).first, visible_keys(a, rows, last).last};
}

// Rows from count on have the rule of the last; what becomes of them is not stored.
template <class T>
__device__ __forceinline__ RowRule row_rule(const Arguments<T>& a, const QueryRows& rows, int i) {
  i = smaller(i, rows.count - 1);
  const int head = rows.head * a.group + (rows.first + i) % a.group;
  return {visible_keys(a, rows, i), a.slopes == nullptr ? 0.0f : product(__ldg(a.slopes + head), kLog2E)};
}

// Where row i begins in an (N,H,D) matrix.
template <class T>
__device__ __forceinline__ int64_t row_offset(const Arguments<T>& a, const QueryRows& rows, int i,
                                              int64_t stride) {
  const int row = rows.first + i;
  return (rows.start + row / a.group) * stride +
         static_cast<int64_t>(rows.head * a.group + row % a.group) * a.D;
}

// Queries to shared memory, `size` rows `stride` elements apart: zeros in channels from D to `channels`, and
// in rows from count on. By all threads of the block.
template <class T>
__device__ __forceinline__ void load_queries(const Arguments<T>& a, const QueryRows& rows, T* to, int size,
                                             int stride, int channels) {
  const int groups = channels / kGroup;
  for (int i = static_cast<int>(threadIdx.x); i < size * groups; i += static_cast<int>(blockDim.x)) {
    const int row = i / groups, channel = i % groups * kGroup;
    float q[kGroup] = {};
    if (row < rows.count) load_group(a.q + row_offset(a, rows, row, a.q_stride) + channel, a.D - channel, q);
    store_whole(to + row * stride + channel, q);
  }
}

// Channels d and d + 1 of a row, d even.
template <class T>
__device__ __forceinline__ void store_pair(const Arguments<T>& a, T* row, int d, float x0, float x1) {
  if (d + 1 < a.D && reinterpret_cast<uintptr_t>(row + d) % 4 == 0) {
    *reinterpret_cast<uint32_t*>(row + d) = pack2<T>(x0, x1);
  } else {
    if (d < a.D) row[d] = from_float<T>(x0);
    if (d + 1 < a.D) row[d + 1] = from_float<T>(x1);
  }
}

}  // namespace kvasir::cuda::attend
