import { invalidValue } from '../errors.js'
import type { Mask } from '../ops/attention.js'
import { attention } from '../ops/attention.js'
import type { Tensor } from '../ops/tensor.js'
import { Linear } from './linear.js'
import { causal } from './masks.js'
import { Module } from './module.js'
import { RMSNorm } from './norm.js'
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
  /** Whether the projections of queries, keys and values have biases; yes by default. */
  bias?: boolean
  /** Whether the projection of the result has one; as the others by default. */
  outputBias?: boolean
  /**
   * Normalises queries and keys before they are rotated: each head for itself (Qwen3), or all heads of a token
   * together (OLMo 2). Not by default.
   */
  queryKeyNorm?: { over: 'head' | 'row'; epsilon: number }
}

/**
 * Self-attention: multi-head (Vaswani et al. 2017), multi-query (Shazeer 2019, https://arxiv.org/abs/1911.02150) or
 * grouped-query (Ainslie et al. 2023, https://arxiv.org/abs/2305.13245), by the number of key/value heads. Norms of
 * queries and keys: Henry et al. 2020, https://arxiv.org/abs/2010.04245
 *
 * @throws {RangeError} when heads do not divide the width and no head size is given, or kvHeads do not divide heads
 */
export class Attention extends Module<AttentionConfig> {
  readonly kvHeads = this.config.kvHeads ?? this.config.heads
  readonly headSize = this.config.headSize ?? wholeHeadSize(this.config)
  q_proj = new Linear(this.config.width, this.config.heads * this.headSize, { bias: this.config.bias })
  k_proj = new Linear(this.config.width, this.kvHeads * this.headSize, { bias: this.config.bias })
  v_proj = new Linear(this.config.width, this.kvHeads * this.headSize, { bias: this.config.bias })
  o_proj = new Linear(this.config.heads * this.headSize, this.config.width, {
    bias: this.config.outputBias ?? this.config.bias,
  })
  q_norm = this.#norm(this.config.heads)
  k_norm = this.#norm(this.kvHeads)

  /** (N, C) -> (N, C) */
  forward(x: Tensor, step: Step): Tensor {
    const { heads, mask = causal, scale, softcap, positions = noPositions() } = this.config
    const { kvHeads } = this
    const q = positions.rotate(normed(this.q_norm, this.q_proj.forward(x)), step, heads) // (N,H*D)
    const k = positions.rotate(normed(this.k_norm, this.k_proj.forward(x)), step, kvHeads) // (N,KH*D)
    const v = this.v_proj.forward(x) // (N,KH*D)
    const slopes = positions.slopes(step, heads) // (H)
    return this.o_proj.forward(attention(q, k, v, step, { heads, kvHeads, mask, scale, softcap, slopes }))
  }

  #norm(heads: number): RMSNorm | null {
    const { queryKeyNorm } = this.config
    if (!queryKeyNorm) return null
    const { over, epsilon } = queryKeyNorm
    return over === 'head'
      ? new RMSNorm(this.headSize, { epsilon, heads })
      : new RMSNorm(heads * this.headSize, { epsilon })
  }
}

function normed(norm: RMSNorm | null, x: Tensor): Tensor {
  return norm ? norm.forward(x) : x
}

function wholeHeadSize({ width, heads }: AttentionConfig): number {
  if (width % heads !== 0) throw invalidValue('Attention: heads', `a divisor of width (${width})`, heads)
  return width / heads
}
