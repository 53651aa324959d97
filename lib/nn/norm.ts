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

/** Mean 0 and variance 1 for each token, then a learned scale and shift. https://arxiv.org/abs/1607.06450 */
export class LayerNorm extends Module<{ size: number; epsilon: number; bias: boolean }> {
  weight = parameter([this.config.size])
  bias = this.config.bias ? parameter([this.config.size]) : null

  constructor(size: number, { epsilon = 1e-5, bias = true }: { epsilon?: number; bias?: boolean } = {}) {
    super({ size, epsilon, bias })
  }

  /** (N, size) -> (N, size) */
  forward(x: Tensor): Tensor {
    return layerNorm(x, { weight: this.weight, bias: this.bias, epsilon: this.config.epsilon })
  }
}

/** Root mean square 1 for each token, then a learned scale. https://arxiv.org/abs/1910.07467 */
export class RMSNorm extends Module<{ size: number; epsilon: number }> {
  weight = parameter([this.config.size])

  constructor(size: number, { epsilon = 1e-6 }: { epsilon?: number } = {}) {
    super({ size, epsilon })
  }

  /** (N, size) -> (N, size) */
  forward(x: Tensor): Tensor {
    return rmsNorm(x, { weight: this.weight, epsilon: this.config.epsilon })
  }
}
