#pragma once

// What nodes mean to kernels, the same for every device.

#include <functional>

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
#include "kernels/sample/sample.h"
#include "kernels/scale/scale.h"
#include "kernels/softcap/softcap.h"
#include "kernels/softmax/softmax.h"
#include "kernels/top-logits/top-logits.h"
#include "runtime/backend.h"

namespace kvasir {

// A kernel's parameters: those known when the program is made, and what completes them for a step.
template <typename Params>
struct Parameters {
  Params fixed;
  std::function<void(Params&, const StepState&)> complete;

  Params at(const StepState& step) const {
    Params params = fixed;
    complete(params, step);
    return params;
  }
};

Parameters<Activate> activation_parameters(const BoundNode& node);
Parameters<Add> add_parameters(const BoundNode& node);
Parameters<AdjustLogits> adjust_logits_parameters(const BoundNode& node);
Parameters<Attention> attention_parameters(const BoundNode& node);
Parameters<Embedding> embedding_parameters(const BoundNode& node);
Parameters<Experts> experts_parameters(const BoundNode& node);
Parameters<GatherRows> gather_rows_parameters(const BoundNode& node);
Parameters<KvAppend> kv_append_parameters(const BoundNode& node);
Parameters<LayerNorm> layer_norm_parameters(const BoundNode& node);
Parameters<Linear> linear_parameters(const BoundNode& node);
Parameters<RmsNorm> rms_norm_parameters(const BoundNode& node);
Parameters<Rope> rope_parameters(const BoundNode& node);
Parameters<RopeTable> rope_table_parameters(const BoundNode& node);
Parameters<Sample> sample_parameters(const BoundNode& node);
Parameters<Scale> scale_parameters(const BoundNode& node);
Parameters<Softcap> softcap_parameters(const BoundNode& node);
Parameters<Softmax> softmax_parameters(const BoundNode& node);
Parameters<TopLogits> top_logits_parameters(const BoundNode& node);

}  // namespace kvasir
