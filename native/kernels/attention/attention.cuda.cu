// Which kernels a step runs: attention-decode.cuh for sequences with a single token or few rows, for the others
// attention-prefill.cuh or, on Hopper, attention-hopper.cuh; attention-f32.cuh for both in f32. Which sequences are
// whose is found on the device; where every sequence has one token, nothing but decoding is launched.

#include <algorithm>

#include "kernels/attention/attention-f32.cuh"
#include "kernels/attention/attention-hopper-launch.cuh"
#include "kernels/attention/attention-prefill.cuh"

namespace kvasir::cuda {

AttentionCudaKernel attention;

namespace attend {

namespace {

constexpr int64_t kMaxGridZ = 65535;

// Blocks of a decoding grid for each multiprocessor, where there are splits enough: what does not start at
// once waits for room, and what finds no split costs its start.
constexpr int64_t kBlocksPerMultiprocessor = 8;

int64_t ceil_divide(int64_t a, int64_t b) { return (a + b - 1) / b; }

unsigned grid_size(int64_t n) { return static_cast<unsigned>(n); }

template <class T>
Arguments<T> arguments_of(const Attention& p, Execution& e) {
  Arguments<T> a{};
  a.q = static_cast<const T*>(p.q);
  a.y = static_cast<T*>(p.y);
  a.cache = p.cache.data;
  a.head_bytes = p.cache.head_bytes();
  a.values_at = p.cache.key_bytes();
  a.scales_at = a.values_at + p.cache.value_bytes();
  a.bytes = p.cache.dtype == DType::kQ8;
  a.q_stride = p.q_stride;
  a.y_stride = p.y_stride;
  a.query_starts = p.tables.query_starts;
  a.context_lengths = p.tables.context_lengths;
  a.block_tables = p.tables.block_tables;
  a.W = p.tables.W;
  a.S = static_cast<int>(p.tables.S);
  a.KH = static_cast<int>(p.cache.KH);
  a.group = static_cast<int>(p.H / p.cache.KH);
  a.D = static_cast<int>(p.D);
  a.DP = static_cast<int>(KvCacheLayer::padded(p.D));
  a.window = static_cast<int>(std::min<int64_t>(p.window, INT32_MAX));
  a.slopes = p.slopes;
  a.rule = score_rule(p);
  a.partials.rows = static_cast<int>(attention_decode_rows(p.tables.N, a.group));
  a.partials.splits = static_cast<int>(attention_splits(p.tables.W));
  a.partials.y = reinterpret_cast<float*>(e.scratch);
  const int64_t rows = p.tables.S * p.cache.KH * a.partials.rows;
  a.partials.sums = reinterpret_cast<RowSum*>(a.partials.y + rows * a.partials.splits * a.DP);
  a.partials.counters = e.counters;
  return a;
}

// Splits that a piece of rows can have keys in.
int64_t most_splits(const Attention& p) {
  const int64_t all = attention_splits(p.tables.W);
  if (p.window == 0) return all;
  return std::min(all, (p.window + kDecodeRows - 2) / kSplit + 2);
}

// Calls body(grid, first sequence) for as many sequences at a time as there are counters.
template <class F>
void for_decode_grids(const Attention& p, Execution& e, const F& body) {
  const int64_t group = p.H / p.cache.KH, heads = p.cache.KH * ceil_divide(group, kDecodeRows);
  const int64_t most = std::min(kMaxGridZ, kNumCounters / heads);
  if (most == 0) throw Error(ErrorKind::kUnsupported, "attention: too many heads");
  for (int64_t first = 0; first < p.tables.S; first += most) {
    const int64_t sequences = std::min(most, p.tables.S - first);
    const int64_t blocks = ceil_divide(kBlocksPerMultiprocessor * e.multiprocessors, heads * sequences);
    body(dim3(grid_size(std::min(blocks, most_splits(p))), grid_size(heads), grid_size(sequences)),
         static_cast<int>(first));
  }
}

template <class T, int kChannels>
constexpr int64_t decode_bytes(int64_t slots) {
  return static_cast<int64_t>(sizeof(DecodeShared<T, kChannels>)) + slots * kSlotBytes<T, kChannels>;
}

// As many slots as fit: where blocks are many, twice into a multiprocessor, if that leaves more than the
// fewest.
template <class T, int kChannels>
int64_t decode_slots(const Execution& e, int64_t blocks) {
  constexpr int64_t kReserved = 1024;  // by CUDA, for each block
  const auto slots_in = [](int64_t bytes) {
    return std::min<int64_t>(kMaxSlots, (bytes - decode_bytes<T, kChannels>(0)) / kSlotBytes<T, kChannels>);
  };
  const int64_t of_half = slots_in((e.shared_bytes + kReserved) / 2 - kReserved);
  return blocks > e.multiprocessors && of_half > kMinSlots ? of_half : slots_in(e.shared_bytes);
}

template <class T, int kChannels>
void launch_decode(const Attention& p, Execution& e) {
  const Arguments<T> a = arguments_of<T>(p, e);
  for_decode_grids(p, e, [&](dim3 grid, int first_sequence) {
    const int64_t slots = decode_slots<T, kChannels>(e, int64_t{grid.x} * grid.y * grid.z);
    launch(e, attention_decode<T, kChannels>, {grid, dim3(kDecodeThreads), decode_bytes<T, kChannels>(slots)},
           a, first_sequence, static_cast<int>(slots));
  });
}

template <int kRows>
dim3 prefill_grid(const Attention& p) {
  const StepTables& t = p.tables;
  const int group = static_cast<int>(p.H / p.cache.KH);
  return dim3(grid_size(first_piece<kRows>(static_cast<int>(t.N), static_cast<int>(t.S), group)),
              grid_size(p.cache.KH));
}

template <class T, int kChannels>
void launch_prefill(const Attention& p, Execution& e, bool all) {
  const Arguments<T> a = arguments_of<T>(p, e);
  if (!all && !a.bytes && launch_prefill_hopper(p, a, e)) return;
  launch(
      e, attention_prefill<T, kChannels>,
      {prefill_grid<kPrefillRows<kChannels>>(p), dim3(kPrefillThreads), sizeof(PrefillShared<T, kChannels>)},
      a, all);
}

bool is_decode_only(const StepTables& t) { return t.N == t.S; }

template <class T, int kChannels>
void launch_half(const Attention& p, Execution& e) {
  const bool decode = decode_bytes<T, kChannels>(kMinSlots) <= e.shared_bytes;
  if (decode) launch_decode<T, kChannels>(p, e);
  if (!decode || !is_decode_only(p.tables)) launch_prefill<T, kChannels>(p, e, !decode);
}

// With the smallest number of channels that kernels were made for and that is not less than D.
template <class T>
void launch_half(const Attention& p, Execution& e) {
  if (p.D <= 64) return launch_half<T, 64>(p, e);
  if (p.D <= 96) return launch_half<T, 96>(p, e);
  if (p.D <= 128) return launch_half<T, 128>(p, e);
  if (p.D <= 192) return launch_half<T, 192>(p, e);
  return launch_half<T, 256>(p, e);
}

void launch_f32(const Attention& p, Execution& e) {
  const Arguments<float> a = arguments_of<float>(p, e);
  const int64_t bytes = F32Shared::bytes(a.DP);
  for_decode_grids(p, e, [&](dim3 grid, int first_sequence) {
    launch(e, attention_decode_f32, {grid, dim3(kF32Threads), bytes}, a, first_sequence);
  });
  if (!is_decode_only(p.tables))
    launch(e, attention_prefill_f32, {prefill_grid<kF32Rows>(p), dim3(kF32Threads), bytes}, a);
}

}  // namespace

}  // namespace attend

void attention(const Attention& p, Execution& e) {
  if (p.tables.N == 0 || p.tables.S == 0) return;
  if (p.dtype == DType::kF32) return attend::launch_f32(p, e);
  with_half_type(p.dtype, [&](auto t) { attend::launch_half<decltype(t)>(p, e); });
}

}  // namespace kvasir::cuda
