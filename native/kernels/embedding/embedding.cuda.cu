#include "kernels/embedding/embedding.cuh"

namespace kvasir::cuda {

EmbeddingCudaKernel embedding;

void embedding(const Embedding& p, Execution& e) { launch_embedding(p, e); }

}  // namespace kvasir::cuda
