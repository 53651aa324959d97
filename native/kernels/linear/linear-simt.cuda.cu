#include "kernels/linear/linear-simt.cuh"

namespace kvasir::cuda {

void linear_simt(const Linear& p, Execution& e) {
  with_type(p.weight_dtype, [&](auto w) {
    using Shape = SimtShape<decltype(w)>;
    SimtPlan plan{};
    plan.weight = static_cast<const char*>(p.weight);
    plan.x = static_cast<const float*>(p.x);
    plan.x_stride = p.x_stride;
    plan.tiles = static_cast<int>(col_tiles(p.weight_dtype, p.K));
    plan.row_tile_bytes = plan.tiles * kTileBytes;
    plan.run_tiles = static_cast<int>(linear_run_columns(p.K) / tile_cols(p.weight_dtype));
    plan.K = static_cast<int>(p.K);
    plan.aligned = is_aligned(p.x) && p.x_stride % 4 == 0;
    const dim3 grid(static_cast<unsigned>(row_tiles(stored_rows(p.gated, p.N))),
                    static_cast<unsigned>((p.M + Shape::kM - 1) / Shape::kM));
    launch(e, linear_simt_kernel<Shape>, {grid, dim3(Shape::kThreads), Shape::kSharedBytes}, plan,
           linear_output(p));
  });
}

}  // namespace kvasir::cuda
