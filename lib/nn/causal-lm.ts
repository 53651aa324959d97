import type { Tensor } from '../ops/tensor.js'
import { Module } from './module.js'
import type { Step } from './step.js'

/** How a family's checkpoints differ from its tree of modules: plain data, patterns being regular expressions. */
export interface CheckpointLayout {
  /** What may stand before a parameter's path in a file's keys; the first that fits is taken. */
  readonly prefixes: readonly string[]
  /** Paths of matrices that files hold transposed, as (inputs, outputs). */
  readonly transposed: readonly string[]
  /** Keys that may be there and are not read: buffers, and copies of tied weights. A parameter's key never is. */
  readonly ignored: readonly string[]
}

/**
 * A decoder-only language model: token ids in, logits of the next token out.
 *
 *     class MyModel extends CausalLM<MyConfig> {
 *       embed = new Embedding(this.config.vocab_size, this.config.width)
 *       layers = repeat(this.config.layers, () => new Block(this.config))
 *       norm = new RMSNorm(this.config.width)
 *       head = new TiedLinear(this.embed)
 *       maxPositions = this.config.context
 *
 *       forward(step: Step): Tensor {
 *         let x = this.embed.forward(step.tokens) // (N,C)
 *         for (const layer of this.layers) x = layer.forward(x, step)
 *         x = gatherRows(x, step.outputRows) // (R,C)
 *         return this.head.forward(this.norm.forward(x)) // (R,V)
 *       }
 *     }
 */
export abstract class CausalLM<Config = object> extends Module<Config> {
  /** The form of checkpoints whose keys are the parameters' paths; a family with another has its own. */
  static readonly checkpoint: CheckpointLayout = { prefixes: [''], transposed: [], ignored: [] }

  /** Checks what a config.json holds and fills in defaults. Without an own one, a class gets it as it is. */
  static readConfig(json: Record<string, unknown>): unknown {
    return json
  }

  /** Positions that a sequence may have. */
  abstract readonly maxPositions: number

  /** Records the model: the step's tokens in, logits (R, V) of its output rows out. */
  abstract forward(step: Step): Tensor

  get checkpoint(): CheckpointLayout {
    return (this.constructor as typeof CausalLM).checkpoint
  }
}
