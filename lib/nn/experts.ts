import type { ActivationKind } from '../ops/activation.js'
import { experts } from '../ops/experts.js'
import type { Parameter, Tensor } from '../ops/tensor.js'
import { Linear } from './linear.js'
import { Module } from './module.js'
import { parameter } from './parameter.js'
import { repeat } from './repeat.js'

export interface MixtureConfig {
  /** Channels in and out, C. */
  width: number
  /** Channels within an expert, F. */
  hidden: number
  /** Experts, E. */
  count: number
  /** How many of them a token goes through. */
  chosen: number
  /** Whether the shares of the chosen experts are made to add up to 1. */
  normalised: boolean
  activation: ActivationKind
}

/**
 * A feed-forward part of which each token goes through a few of many: a linear layer, `gate`, rates the experts.
 *
 * Shazeer et al. 2017, https://arxiv.org/abs/1701.06538
 */
export class MixtureOfExperts extends Module<MixtureConfig> {
  gate = new Linear(this.config.width, this.config.count, { bias: false })
  experts = repeat(this.config.count, () => new Expert(this.config))

  /** (N, C) -> (N, C) */
  forward(x: Tensor): Tensor {
    const { chosen, normalised, activation } = this.config
    const of = (name: keyof Matrices) => this.experts.map((expert) => expert[name].weight)
    return experts(x, this.gate.forward(x), {
      gate: of('gate_proj'),
      up: of('up_proj'),
      down: of('down_proj'),
      chosen,
      normalised,
      activation,
    })
  }
}

interface Matrices {
  gate_proj: { weight: Parameter }
  up_proj: { weight: Parameter }
  down_proj: { weight: Parameter }
}

class Expert extends Module<MixtureConfig> implements Matrices {
  gate_proj = { weight: parameter([this.config.hidden, this.config.width]) }
  up_proj = { weight: parameter([this.config.hidden, this.config.width]) }
  down_proj = { weight: parameter([this.config.width, this.config.hidden]) }
}
