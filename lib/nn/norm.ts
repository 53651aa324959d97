import { layerNorm } from '../ops/layer-norm.js'
import { rmsNorm } from '../ops/rms-norm.js'
import type { Tensor } from '../ops/tensor.js'
import { Module } from './module.js'
import { parameter } from './parameter.js'

export interface Norm extends Module<unknown> {
  /** (N, C) -> (N, C) */
  forward(x: Tensor): Tensor
}

/** A class of norms: `LayerNorm`, `RMSNorm`, or one's own. */
export type NormKind = new (size: number, options?: { epsilon?: number }) => Norm

export interface LayerNormOptions {
  epsilon?: number
  /** Whether there is a learned shift; yes by default. */
  bias?: boolean
  /** Whether there is a learned scale, and a shift with it; yes by default. */
  affine?: boolean
}

/** Mean 0 and variance 1 for each token, then a learned scale and shift. https://arxiv.org/abs/1607.06450 */
export class LayerNorm extends Module<Required<LayerNormOptions> & { size: number }> {
  weight = this.config.affine ? parameter([this.config.size]) : null
  bias = this.config.affine && this.config.bias ? parameter([this.config.size]) : null

  constructor(size: number, { epsilon = 1e-5, bias = true, affine = true }: LayerNormOptions = {}) {
    super({ size, epsilon, bias, affine })
  }

  /** (N, size) -> (N, size) */
  forward(x: Tensor): Tensor {
    return layerNorm(x, { weight: this.weight, bias: this.bias, epsilon: this.config.epsilon })
  }
}

/**
 * Root mean square 1 for each token, then a learned scale. https://arxiv.org/abs/1910.07467
 *
 * With `heads`, rows are so many heads of `size` channels, each with a norm of its own and all with one scale, as Qwen3
 * normalises queries and keys.
 */
export class RMSNorm extends Module<{ size: number; epsilon: number; heads: number }> {
  weight = parameter([this.config.size])

  constructor(size: number, { epsilon = 1e-6, heads = 1 }: { epsilon?: number; heads?: number } = {}) {
    super({ size, epsilon, heads })
  }

  /** (N, heads*size) -> (N, heads*size) */
  forward(x: Tensor): Tensor {
    return rmsNorm(x, { weight: this.weight, ...this.config })
  }
}
