#include "checkpoint/unpack.h"

#include <algorithm>

#include "checkpoint/pack.h"
#include "types/tiles.h"

namespace kvasir {
namespace {

void unpack_panels(const StoredTensor& tensor, float* destination) {
  for (int64_t row = 0; row < tensor.rows; ++row)
    for (int64_t col = 0; col < tensor.cols; ++col) {
      int64_t index = panel_index(tensor.dtype, tensor.cols, row, col);
      widen(tensor.dtype, tensor.data + index * size_of(tensor.dtype), destination++, 1);
    }
}

void unpack_blocks(const StoredTensor& tensor, float* destination) {
  for (int64_t row = 0; row < tensor.rows; ++row, destination += tensor.cols)
    widen_blocks(tensor.dtype, tensor.data, tensor.layout, tensor.cols, row, destination);
}

void unpack_tile(const StoredTensor& tensor, const std::byte* tile, int64_t number, float* destination) {
  const int64_t piece_cols = 16 / size_of(tensor.dtype), tiles = col_tiles(tensor.dtype, tensor.cols);
  const int64_t row = number / tiles * kTileRows, col = number % tiles * tile_cols(tensor.dtype);
  const int64_t rows = std::min(kTileRows, tensor.rows - row);
  const int64_t cols = std::min(tile_cols(tensor.dtype), tensor.cols - col);
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < cols; c += piece_cols) {
      const std::byte* piece = tile + r * kTileRowBytes + (c / piece_cols ^ (r & 7)) * 16;
      widen(tensor.dtype, piece, destination + (row + r) * tensor.cols + col + c,
            std::min(piece_cols, cols - c));
    }
}

// Bytes of a tensor in rows or tiles, whole tiles, that begin at `offset` of it.
void unpack_bytes(const StoredTensor& tensor, const std::byte* data, int64_t offset, int64_t bytes,
                  float* destination) {
  if (tensor.layout == Layout::kTiles) {
    for (int64_t done = 0; done < bytes; done += kTileBytes)
      unpack_tile(tensor, data + done, (offset + done) / kTileBytes, destination);
  } else {
    const int64_t element = size_of(tensor.dtype);
    widen(tensor.dtype, data, destination + offset / element, bytes / element);
  }
}

}  // namespace

void unpack(const StoredTensor& tensor, StagingPool* staging, float* destination) {
  const auto bytes = static_cast<int64_t>(tensor.bytes);
  if (is_blocked(tensor.dtype)) return unpack_blocks(tensor, destination);
  if (tensor.layout == Layout::kPanels) return unpack_panels(tensor, destination);
  if (!staging) return unpack_bytes(tensor, tensor.data, 0, bytes, destination);
  StagingPool::Lease buffer(*staging);
  for (int64_t offset = 0; offset < bytes; offset += kStagingBytes) {
    const int64_t count = std::min(kStagingBytes, bytes - offset);
    buffer->read(buffer->data(), tensor.data + offset, static_cast<size_t>(count));
    buffer->wait();
    unpack_bytes(tensor, buffer->data(), offset, count, destination);
  }
}

}  // namespace kvasir
