#pragma once

// The table of CUDA kernels.

#include "kernels/activation/activation.h"
#include "kernels/add/add.h"
#include "kernels/adjust-logits/adjust-logits.h"
#include "kernels/attention/attention.h"
#include "kernels/embedding/embedding.h"
#include "kernels/experts/experts.h"
#include "kernels/gather-rows/gather-rows.h"
#include "kernels/kv-append/kv-append.h"
#include "kernels/layer-norm/layer-norm.h"
#include "kernels/linear/linear.h"
#include "kernels/rms-norm/rms-norm.h"
#include "kernels/rope-table/rope-table.h"
#include "kernels/rope/rope.h"
#include "kernels/sample/advance.h"
#include "kernels/sample/sample.h"
#include "kernels/scale/scale.h"
#include "kernels/softcap/softcap.h"
#include "kernels/softmax/softmax.h"
#include "kernels/top-logits/top-logits.h"

namespace kvasir::cuda {

// A kernel behind the module's border, where no exception may pass: 0, or nonzero with CudaModule::last_error.
template <typename... Params>
using Entry = int (*)(const Params&..., Execution&) noexcept;

struct Kernels {
  Entry<Activate> activation;
  Entry<Add> add;
  Entry<AdjustLogits> adjust_logits;
  Entry<Advance> advance;
  Entry<Attention> attention;
  Entry<Embedding> embedding;
  Entry<Experts> experts;
  Entry<GatherRows> gather_rows;
  Entry<KvAppend> kv_append;
  Entry<LayerNorm> layer_norm;
  Entry<LayerNorm, Linear> layer_norm_linear;
  Entry<Linear> linear;
  Entry<RmsNorm> rms_norm;
  Entry<RmsNorm, Linear> rms_norm_linear;
  Entry<Rope> rope;
  Entry<RopeTable> rope_table;
  Entry<Sample> sample;
  Entry<Scale> scale;
  Entry<Softcap> softcap;
  Entry<Softmax> softmax;
  Entry<TopLogits> top_logits;
};

}  // namespace kvasir::cuda
