import { invalidValue } from '../errors.js'
import type { Mask } from '../ops/attention.js'
import { attention } from '../ops/attention.js'
import type { Tensor } from '../ops/tensor.js'
import { Linear } from './linear.js'
import { causal } from './masks.js'
import { Module } from './module.js'
import type { Positions } from './positions.js'
import { noPositions } from './positions.js'
import type { Step } from './step.js'

export interface AttentionConfig {
  /** Channels in and out, C. */
  width: number
  /** Query heads, H. */
  heads: number
  /** Key/value heads, KH: H by default (multi-head), 1 for multi-query, a divisor of H for grouped-query. */
  kvHeads?: number
  /** Channels of a head, D; width / heads by default. */
  headSize?: number
  /** What rotates queries and keys or biases scores; nothing by default. */
  positions?: Positions<unknown>
  /** `causal` by default, or `slidingWindow(n)`. */
  mask?: Mask
  /** Factor on the scores; 1 / sqrt(D) by default. */
  scale?: number
  /** Bound of the scores, by tanh; none by default. */
  softcap?: number
  /** Whether the four projections have biases; yes by default. */
  bias?: boolean
}

/**
 * Self-attention: multi-head (Vaswani et al. 2017), multi-query (Shazeer 2019, https://arxiv.org/abs/1911.02150) or
 * grouped-query (Ainslie et al. 2023, https://arxiv.org/abs/2305.13245), by the number of key/value heads.
 *
 * @throws {RangeError} when heads do not divide the width and no head size is given, or kvHeads do not divide heads
 */
export class Attention extends Module<AttentionConfig> {
  readonly kvHeads = this.config.kvHeads ?? this.config.heads
  readonly headSize = this.config.headSize ?? wholeHeadSize(this.config)
  q_proj = new Linear(this.config.width, this.config.heads * this.headSize, { bias: this.config.bias })
  k_proj = new Linear(this.config.width, this.kvHeads * this.headSize, { bias: this.config.bias })
  v_proj = new Linear(this.config.width, this.kvHeads * this.headSize, { bias: this.config.bias })
  o_proj = new Linear(this.config.heads * this.headSize, this.config.width, { bias: this.config.bias })

  /** (N, C) -> (N, C) */
  forward(x: Tensor, step: Step): Tensor {
    const { heads, mask = causal, scale, softcap, positions = noPositions() } = this.config
    const { kvHeads } = this
    const q = positions.rotate(this.q_proj.forward(x), step, heads) // (N,H*D)
    const k = positions.rotate(this.k_proj.forward(x), step, kvHeads) // (N,KH*D)
    const v = this.v_proj.forward(x) // (N,KH*D)
    const slopes = positions.slopes(step, heads) // (H)
    return this.o_proj.forward(attention(q, k, v, step, { heads, kvHeads, mask, scale, softcap, slopes }))
  }
}

function wholeHeadSize({ width, heads }: AttentionConfig): number {
  if (width % heads !== 0) throw invalidValue('Attention: heads', `a divisor of width (${width})`, heads)
  return width / heads
}
