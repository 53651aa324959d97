#include "device.h"
#include "tests.h"
#include "types/tiles.h"

namespace kvasir::cuda::test {

namespace {

// A producer warp fills a ring of kStages pieces, three consumer warps read them: y = x + 1, piece by piece.
template <int kStages>
__global__ void add_one(const float* x, float* y, int pieces) {
  constexpr int kPiece = 256, kConsumers = 96;
  float* ring = dynamic_shared<float>();
  const uint32_t shared = ptx::shared_address(ring), barriers = shared + kStages * kPiece * 4;
  const auto full = [&](int stage) { return barriers + 8 * static_cast<uint32_t>(stage); };
  const auto free = [&](int stage) { return barriers + 8 * static_cast<uint32_t>(kStages + stage); };
  const int t = static_cast<int>(threadIdx.x);
  if (t == 0) {
    for (int i = 0; i < kStages; ++i) {
      ptx::mbarrier_init(full(i), 1);
      ptx::mbarrier_init(free(i), kConsumers);
    }
    ptx::fence_mbarrier_init();
  }
  __syncthreads();
  ptx::wait_for_predecessor();
  if (t < 32) {
    if (t != 0) return;
    for (int i = 0; i < pieces; ++i) {
      const int stage = i % kStages;
      ptx::mbarrier_wait(free(stage), static_cast<uint32_t>(i / kStages % 2 ^ 1));
      ptx::mbarrier_expect(full(stage), kPiece * 4);
      for (int half = 0; half < 2; ++half) {
        ptx::copy_bulk(shared + static_cast<uint32_t>((stage * kPiece + half * kPiece / 2) * 4),
                       x + i * kPiece + half * kPiece / 2, kPiece * 2, full(stage));
      }
    }
  } else {
    for (int i = 0; i < pieces; ++i) {
      const int stage = i % kStages;
      ptx::mbarrier_wait(full(stage), static_cast<uint32_t>(i / kStages % 2));
      for (int j = t - 32; j < kPiece; j += kConsumers) y[i * kPiece + j] = ring[stage * kPiece + j] + 1.0f;
      ptx::mbarrier_arrive(free(stage));
    }
  }
}

template <int kStages>
void check_pipeline() {
  Device device(90, true);
  constexpr int kPieces = 7;
  const std::vector<float> x = random_values<float>(kPieces * 256, 3);
  const Buffer<float> from(device.stream, x), to(device.stream, kPieces * 256);
  launch(device.execution, add_one<kStages>, {1, 128, kStages * (1024 + 16)}, from.data(), to.data(),
         kPieces);
  std::vector<float> want = x;
  for (float& value : want) value += 1.0f;
  CHECK(same_bits(to.values(), want));
}

// One box, as it lies in shared memory.
__global__ void fetch_box(const __grid_constant__ TensorMap map, int column, int row, uint32_t* y,
                          int bytes) {
  char* shared = dynamic_shared<char>();
  const uint32_t box = ptx::shared_address(shared),
                 barrier = box + static_cast<uint32_t>((bytes + 1023) / 1024 * 1024);
  if (threadIdx.x == 0) {
    ptx::mbarrier_init(barrier, 1);
    ptx::fence_mbarrier_init();
    ptx::wait_for_predecessor();
    ptx::mbarrier_expect(barrier, static_cast<uint32_t>(bytes));
    ptx::copy_tensor(box, &map, column, row, barrier);
  }
  __syncthreads();
  ptx::mbarrier_wait(barrier, 0);
  for (int i = static_cast<int>(threadIdx.x); i < bytes / 4; i += static_cast<int>(blockDim.x)) {
    y[i] = reinterpret_cast<const uint32_t*>(shared)[i];
  }
}

struct Box {
  int rows, cols, column, row;
};

// `rows` x `cols` 16-bit numbers, rows `stride` numbers apart.
void check_box(int rows, int cols, int stride, Box box) {
  Device device(90);
  std::vector<uint16_t> x;
  for (int i = 0; i < (rows - 1) * stride + cols; ++i)
    x.push_back(static_cast<uint16_t>(i * 40503u >> 3 | 1));
  const Buffer<uint16_t> from(device.stream, x);
  const int bytes = box.rows * box.cols * 2;
  const Buffer<uint32_t> to(device.stream, bytes / 4);
  const TensorMap map =
      ptx::tensor_map(DType::kBF16, from.data(), rows, cols, stride * 2, box.rows, box.cols);
  launch(device.execution, fetch_box, {1, 64, (bytes + 1023) / 1024 * 1024 + 8}, map, box.column, box.row,
         to.data(), bytes);
  const std::vector<uint32_t> y = to.values();
  int wrong = 0;
  for (int r = 0; r < box.rows; ++r) {
    for (int c = 0; c < box.cols; ++c) {
      const int row = box.row + r, col = box.column + c;
      const bool there = row >= 0 && row < rows && col >= 0 && col < cols;
      const uint16_t want = there ? x[static_cast<size_t>(row * stride + col)] : 0;
      // A whole row of 128 bytes lies as in a tile of types/tiles.h.
      const int byte = r * box.cols * 2 + c * 2, place = byte ^ (byte / 128 % 8) * 16;
      if (box.cols == 64 && place / 2 != tile_index(DType::kBF16, 64, r, c)) ++wrong;
      wrong += static_cast<uint16_t>(y[static_cast<size_t>(place / 4)] >> place % 4 * 8) != want;
    }
  }
  CHECK(wrong == 0);
}

// A barrier of all threads, in many phases.
__global__ void phases(int* y, int count) {
  ptx::wait_for_predecessor();
  int* values = dynamic_shared<int>() + 2;
  const uint32_t barrier = ptx::shared_address(dynamic_shared<int>());
  const int t = static_cast<int>(threadIdx.x), threads = static_cast<int>(blockDim.x);
  if (t == 0) ptx::mbarrier_init(barrier, threads);
  __syncthreads();
  int sum = 0;
  for (int i = 0; i < count; ++i) {
    values[t] = t + i;
    ptx::mbarrier_arrive(barrier);
    ptx::mbarrier_wait(barrier, static_cast<uint32_t>(2 * i) & 1);
    sum += values[threads - 1 - t];
    ptx::mbarrier_arrive(barrier);
    ptx::mbarrier_wait(barrier, static_cast<uint32_t>(2 * i + 1) & 1);
  }
  y[t] = sum;
}

}  // namespace

void test_hopper_copies() {
  if (device_of(90) < 0) return;
  test_in_all_orders("bulk copies through one stage", [] { check_pipeline<1>(); });
  test_in_all_orders("bulk copies through three stages", [] { check_pipeline<3>(); });
  test_in_all_orders("phases of an mbarrier", [] {
    Device device(90);
    const Buffer<int> y(device.stream, 96);
    launch(device.execution, phases, {1, 96, 8 + 96 * 4}, y.data(), 5);
    const std::vector<int> values = y.values();
    int wrong = 0;
    for (int t = 0; t < 96; ++t) wrong += values[static_cast<size_t>(t)] != 5 * (95 - t) + 10;
    CHECK(wrong == 0);
  });
  test_in_all_orders("a box inside a matrix", [] { check_box(100, 160, 160, {64, 64, 64, 16}); });
  test("a box over the right and lower edge", [] { check_box(100, 150, 160, {64, 64, 128, 64}); });
  test("a box over the left and upper edge", [] { check_box(100, 150, 152, {64, 64, -24, -5}); });
  test("a box beside the matrix", [] { check_box(10, 20, 24, {8, 64, 64, 0}); });
  test("a box of 256 rows", [] { check_box(300, 64, 64, {256, 64, 0, 20}); });
  test("a box of 32 columns", [] { check_box(40, 90, 96, {16, 32, 32, 8}); });
  test("a matrix of one element", [] { check_box(1, 1, 8, {64, 64, 0, 0}); });
}

}  // namespace kvasir::cuda::test
