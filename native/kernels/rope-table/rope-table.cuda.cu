#include "kernels/rope-table/rope-table.cuh"

namespace kvasir::cuda {

RopeTableCudaKernel rope_table;

void rope_table(const RopeTable& p, Execution& e) { launch_pieces(e, rope_table_kernel, p.N, p.P, p); }

}  // namespace kvasir::cuda
