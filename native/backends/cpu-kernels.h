#pragma once

// The table of CPU kernels, one for each instruction set that the sources are compiled for.

#include "device/cpu/probe.h"
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

namespace kvasir {

// References, so that a table which forgets a kernel does not compile.
struct CpuKernels {
  const char* isa;
  ActivateKernel& activation;
  AddKernel& add;
  AdjustLogitsKernel& adjust_logits;
  AttentionKernel& attention;
  EmbeddingKernel& embedding;
  ExpertsKernel& experts;
  GatherRowsKernel& gather_rows;
  KvAppendKernel& kv_append;
  LayerNormKernel& layer_norm;
  LinearKernel& linear;
  ProbeArithmeticKernel& probe_arithmetic;
  ProbeReadKernel& probe_read;
  RmsNormKernel& rms_norm;
  RopeKernel& rope;
  RopeTableKernel& rope_table;
  SampleKernel& sample;
  ScaleKernel& scale;
  SoftcapKernel& softcap;
  SoftmaxKernel& softmax;
  TopLogitsKernel& top_logits;
};

}  // namespace kvasir
