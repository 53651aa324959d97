#include "kernels/linear/linear-blocks.cuh"
#include "kernels/linear/linear-stream-launch.cuh"

namespace kvasir::cuda {

LinearCudaKernel linear;

namespace {

template <class T, DType kType>
bool stream_blocks_of(const Linear& p, const LinearInput& input, Execution& e) {
  if (p.M <= 8) return launch_stream<BlockTeam<T, kType, 8, 2>>(p, input, e);
  return launch_stream<BlockTeam<T, kType, 16, 2>>(p, input, e);
}

void unpack(const Linear& p, int64_t first_row, int64_t rows, void* to, Execution& e) {
  const int64_t block_tiles = col_tiles(p.weight_dtype, p.K), tiles = row_tiles(rows);
  const UnpackPlan plan{
      static_cast<const char*>(p.weight) + first_row / kTileRows * block_tiles * tile_bytes(p.weight_dtype),
      to, static_cast<int>(tiles), static_cast<int>(block_tiles), static_cast<int>(col_tiles(p.dtype, p.K))};
  const int64_t threads = tiles * block_tiles * kTileRows * 8;
  with_type(p.dtype, [&](auto t) {
    with_block_type(p.weight_dtype, [&](auto type) {
      launch(e, unpack_blocks_kernel<decltype(t), type.value>,
             {dim3(static_cast<unsigned>((threads + kUnpackThreads - 1) / kUnpackThreads)),
              dim3(kUnpackThreads)},
             plan);
    });
  });
}

// The layer of stored rows first_row to first_row + rows - 1, whose tiles are at `weight`.
Linear part_of(const Linear& p, int64_t first_row, int64_t rows, const void* weight) {
  const int64_t n = output_of_row(p.gated, first_row), count = output_of_row(p.gated, rows);
  const int64_t y_bytes = n * size_of(p.y_dtype);
  Linear part = p;
  part.weight = weight;
  part.weight_dtype = p.dtype;
  part.N = p.N - n < count ? p.N - n : count;
  part.y = static_cast<std::byte*>(p.y) + y_bytes;
  if (p.residual != nullptr) part.residual = static_cast<const std::byte*>(p.residual) + y_bytes;
  if (p.bias != nullptr) part.bias = p.bias + n;
  if (p.bias != nullptr && p.gated) part.up_bias = (p.up_bias != nullptr ? p.up_bias : p.bias + p.N) + n;
  return part;
}

}  // namespace

bool linear_stream_blocks(const Linear& p, const LinearInput& input, Execution& e) {
  if (p.dtype == DType::kF32 || p.M > 16) return false;
  return with_half_type(p.dtype, [&](auto t) {
    return with_block_type(p.weight_dtype,
                           [&](auto type) { return stream_blocks_of<decltype(t), type.value>(p, input, e); });
  });
}

void linear_blocks(const Linear& p, Execution& e) {
  const int64_t rows = stored_rows(p.gated, p.N), step = linear_cuda_unpacked_rows(p.K);
  std::byte* tiles = e.scratch + linear_cuda_sums_bytes(p.M, rows, p.K);
  Execution after = after_predecessor(e);
  for (int64_t row = 0; row < rows; row += step) {
    const int64_t count = rows - row < step ? rows - row : step;
    unpack(p, row, count, tiles, e);
    linear(part_of(p, row, count, tiles), after);
  }
}

}  // namespace kvasir::cuda
