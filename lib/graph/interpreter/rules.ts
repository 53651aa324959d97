import type { OpName } from '../op-set.js'
import { activation } from './activation.js'
import { add } from './add.js'
import { adjustLogits } from './adjust-logits.js'
import { attention } from './attention.js'
import type { Rule } from './call.js'
import { embedding } from './embedding.js'
import { experts } from './experts.js'
import { gatherRows } from './gather-rows.js'
import { kvAppend } from './kv-append.js'
import { layerNorm } from './layer-norm.js'
import { linear } from './linear.js'
import { rmsNorm } from './rms-norm.js'
import { rope } from './rope.js'
import { ropeTable } from './rope-table.js'
import { sample } from './sample.js'
import { scale } from './scale.js'
import { slice } from './slice.js'
import { softcap } from './softcap.js'
import { softmax } from './softmax.js'
import { topLogits } from './top-logits.js'

/** What each op computes. */
export const rules: Readonly<Record<OpName, Rule>> = {
  embedding,
  linear,
  'layer-norm': layerNorm,
  'rms-norm': rmsNorm,
  'rope-table': ropeTable,
  rope,
  slice,
  activation,
  add,
  scale,
  softcap,
  softmax,
  experts,
  'gather-rows': gatherRows,
  attention,
  'kv-append': kvAppend,
  'adjust-logits': adjustLogits,
  sample,
  'top-logits': topLogits,
}
