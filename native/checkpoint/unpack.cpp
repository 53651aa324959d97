#include "checkpoint/unpack.h"

#include <algorithm>
#include <cstring>
#include <tuple>
#include <vector>

#include "checkpoint/pack.h"
#include "types/panels.h"
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

// Bytes of a tensor, wherever it lies, that begin at `offset`.
void read_bytes(const StoredTensor& tensor, StagingPool* staging, int64_t offset, int64_t bytes,
                std::byte* to) {
  if (!staging) {
    std::memcpy(to, tensor.data + offset, static_cast<size_t>(bytes));
    return;
  }
  StagingPool::Lease buffer(*staging);
  for (int64_t done = 0; done < bytes; done += kStagingBytes) {
    const auto count = static_cast<size_t>(std::min(kStagingBytes, bytes - done));
    buffer->read(buffer->data(), tensor.data + offset + done, count);
    buffer->wait();
    std::memcpy(to + done, buffer->data(), count);
  }
}

// A band of rows that lie together at a time.
void unpack_blocks(const StoredTensor& tensor, StagingPool* staging, float* destination) {
  const auto [dtype, layout, cols] = std::tuple(tensor.dtype, tensor.layout, tensor.cols);
  const int64_t band = layout == Layout::kTiles ? kTileRows : kPanelRows;
  const auto bytes = static_cast<int64_t>(stored_bytes({tensor.name, dtype, layout, band, cols}));
  std::vector<std::byte> held(static_cast<size_t>(bytes));
  for (int64_t row = 0; row < tensor.rows; ++row, destination += cols) {
    const int64_t offset = row / band * bytes;
    if (row % band == 0)
      read_bytes(tensor, staging, offset, std::min(bytes, static_cast<int64_t>(tensor.bytes) - offset),
                 held.data());
    widen_blocks(dtype, held.data(), layout, cols, row % band, destination);
  }
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
  if (is_blocked(tensor.dtype)) return unpack_blocks(tensor, staging, destination);
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
