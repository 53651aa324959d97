import type { Step, Tensor } from '../nn/index.js'
import { Attention, CausalLM, Embedding, gatherRows, Module, repeat, scale } from '../nn/index.js'
import type { DecoderConfig } from './decoder-config.js'
import { readDecoderConfig } from './decoder-config.js'

export type { DecoderConfig } from './decoder-config.js'

/**
 * The textbook decoder-only transformer, built from choices.
 *
 *     const model = new Decoder({
 *       vocabSize: 256, maxPositions: 512, width: 128, layers: 4, heads: 4,
 *       positions: rotary(), norm: RMSNorm, residual: preNorm, feedForward: swiglu, head: tiedHead,
 *     })
 *
 * Vaswani et al. 2017, https://arxiv.org/abs/1706.03762
 */
export class Decoder extends CausalLM<DecoderConfig> {
  static override readConfig = readDecoderConfig

  embed = new Embedding(this.config.vocabSize, this.config.width)
  positions = this.config.positions
  layers = repeat(this.config.layers, () => new Layer(this.config))
  norm = this.config.residual.finalNorm ? normOf(this.config) : null
  head = this.config.head(this.embed)
  maxPositions = this.config.maxPositions

  forward(step: Step): Tensor {
    let x = this.embed.forward(step.tokens) // (N,C)
    if (this.config.embeddingScale !== undefined) x = scale(x, this.config.embeddingScale)
    x = this.positions.forward(x, step) // (N,C)
    for (const layer of this.layers) x = layer.forward(x, step)
    x = gatherRows(x, step.outputRows) // (R,C)
    return this.head.forward(this.norm?.forward(x) ?? x) // (R,V)
  }
}

class Layer extends Module<DecoderConfig> {
  attn_norm = normOf(this.config)
  attn = new Attention(this.config)
  ff_norm = normOf(this.config)
  ff = feedForwardOf(this.config)

  forward(x: Tensor, step: Step): Tensor {
    const { residual } = this.config
    x = residual.add(x, this.attn_norm, (x) => this.attn.forward(x, step))
    return residual.add(x, this.ff_norm, (x) => this.ff.forward(x))
  }
}

function normOf({ norm: Norm, width, epsilon }: DecoderConfig) {
  return new Norm(width, { epsilon })
}

function feedForwardOf({ feedForward, width, hidden = 4 * width, bias }: DecoderConfig) {
  return feedForward({ width, hidden, bias })
}
