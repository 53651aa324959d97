import type { Activation } from '../ops/activation.js'
import { gelu, silu } from '../ops/activation.js'
import type { Tensor } from '../ops/tensor.js'
import { Linear } from './linear.js'
import { Module } from './module.js'

export interface FeedForwardConfig {
  /** Channels in and out, C. */
  width: number
  /** Channels between, F. */
  hidden: number
  activation: Activation
  bias?: boolean
}

/** `act(x W1 + b1) W2 + b2`. */
export class FeedForward extends Module<FeedForwardConfig> {
  up_proj = new Linear(this.config.width, this.config.hidden, { bias: this.config.bias })
  down_proj = new Linear(this.config.hidden, this.config.width, { bias: this.config.bias })

  /** (N, C) -> (N, C) */
  forward(x: Tensor): Tensor {
    return this.down_proj.forward(this.config.activation(this.up_proj.forward(x)))
  }
}

/** `(act(x Wg + bg) * (x Wu + bu)) Wd + bd`. Shazeer 2020, https://arxiv.org/abs/2002.05202 */
export class GatedFeedForward extends Module<FeedForwardConfig> {
  gate_proj = new Linear(this.config.width, this.config.hidden, { bias: this.config.bias })
  up_proj = new Linear(this.config.width, this.config.hidden, { bias: this.config.bias })
  down_proj = new Linear(this.config.hidden, this.config.width, { bias: this.config.bias })

  /** (N, C) -> (N, C) */
  forward(x: Tensor): Tensor {
    const gate = this.gate_proj.forward(x) // (N,F)
    const up = this.up_proj.forward(x) // (N,F)
    return this.down_proj.forward(this.config.activation(gate, up))
  }
}

/** Makes the feed-forward part of a layer. */
export type FeedForwardKind = (sizes: {
  width: number
  hidden: number
  bias?: boolean
}) => FeedForward | GatedFeedForward

/** Two linear layers with an activation between: `mlp(relu)`, `mlp(gelu)`. */
export function mlp(activation: Activation): FeedForwardKind {
  return (sizes) => new FeedForward({ ...sizes, activation })
}

/** Three linear layers, one of them a gate: `gatedMlp(silu)`. */
export function gatedMlp(activation: Activation): FeedForwardKind {
  return (sizes) => new GatedFeedForward({ ...sizes, activation })
}

/** A gate through SiLU, as LLaMA has it. */
export const swiglu: FeedForwardKind = gatedMlp(silu)

/** A gate through GELU. */
export const geglu: FeedForwardKind = gatedMlp(gelu)
