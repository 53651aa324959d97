// Compiled once per instruction set, like the kernels it lists.

#include "backends/cpu-kernels.h"

#define KVASIR_STRING_(x) #x
#define KVASIR_STRING(x) KVASIR_STRING_(x)

namespace kvasir::KVASIR_ISA {

ActivateKernel activation;
AddKernel add;
AdjustLogitsKernel adjust_logits;
AttentionKernel attention;
EmbeddingKernel embedding;
ExpertsKernel experts;
GatherRowsKernel gather_rows;
KvAppendKernel kv_append;
LayerNormKernel layer_norm;
LinearKernel linear;
ProbeArithmeticKernel probe_arithmetic;
ProbeReadKernel probe_read;
RmsNormKernel rms_norm;
RopeKernel rope;
RopeTableKernel rope_table;
SampleKernel sample;
ScaleKernel scale;
SoftcapKernel softcap;
SoftmaxKernel softmax;
TopLogitsKernel top_logits;

extern const CpuKernels kCpuKernels;
const CpuKernels kCpuKernels = {
    KVASIR_STRING(KVASIR_ISA),
    activation,
    add,
    adjust_logits,
    attention,
    embedding,
    experts,
    gather_rows,
    kv_append,
    layer_norm,
    linear,
    probe_arithmetic,
    probe_read,
    rms_norm,
    rope,
    rope_table,
    sample,
    scale,
    softcap,
    softmax,
    top_logits,
};

}  // namespace kvasir::KVASIR_ISA
