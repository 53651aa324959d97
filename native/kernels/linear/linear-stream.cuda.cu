#include "kernels/linear/linear-stream-launch.cuh"

namespace kvasir::cuda {

namespace {

// Warps with 8 stored rows where 16 would leave many multiprocessors without work; gates need their ups.
template <class T, int kMaxRows>
bool stream_by_matrices(const Linear& p, const LinearInput& input, Execution& e) {
  const int64_t groups = (stored_rows(p.gated, p.N) + 15) / 16;
  if (!p.gated && 4 * groups < 3 * e.multiprocessors &&
      launch_stream<MatrixTeam<T, kMaxRows, 1>>(p, input, e))
    return true;
  return launch_stream<MatrixTeam<T, kMaxRows, 2>>(p, input, e);
}

// Up to four layers of blocks, each with some of the rows.
template <class W, int kMaxRows>
bool stream_by_scalars(const Linear& p, const LinearInput& input, Execution& e) {
  return p.M <= 4 * kMaxRows && launch_stream<ScalarTeam<W, kMaxRows>>(p, input, e);
}

template <class W>
bool stream_f32(const Linear& p, const LinearInput& input, Execution& e) {
  if (p.M > 4 && stream_by_scalars<W, 8>(p, input, e)) return true;
  if (p.M > 1 && stream_by_scalars<W, 4>(p, input, e)) return true;
  return stream_by_scalars<W, 1>(p, input, e);
}

// On an H200, 16 rows: 22.5 us for 64 MiB of weights, linear_hopper 16.3; 7.2 us for 12 MiB, linear_hopper 7.5.
bool is_large(const Linear& p) {
  constexpr int64_t kLargeBytes = 32 << 20;
  return stored_rows(p.gated, p.N) * p.K * 2 >= kLargeBytes;
}

}  // namespace

bool linear_stream(const Linear& p, const LinearInput& input, Execution& e) {
  if (is_blocked(p.weight_dtype)) return linear_stream_blocks(p, input, e);
  if (p.dtype == DType::kF32)
    return with_type(p.weight_dtype, [&](auto w) { return stream_f32<decltype(w)>(p, input, e); });
  if (p.M > 16 || (p.M > 8 && is_large(p) && is_hopper(e))) return false;
  return with_half_type(p.dtype, [&](auto t) {
    using T = decltype(t);
    return p.M <= 8 ? stream_by_matrices<T, 8>(p, input, e) : stream_by_matrices<T, 16>(p, input, e);
  });
}

}  // namespace kvasir::cuda
