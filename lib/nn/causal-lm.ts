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
  /** Tensors that hold the rows of several parameters, or that have other names; none where it is absent. */
  readonly fused?: readonly FusedTensor[]
  /** Paths of parameters that files hold less 1, as Gemma's norms; none where it is absent. */
  readonly lessOne?: readonly string[]
}

/**
 * A tensor that holds the rows of several parameters, or of one by another name.
 *
 *     { tensor: 'qkv_proj', parts: { q_proj: 4096, k_proj: 1024, v_proj: 1024 } }      q, then k, then v
 *     { tensor: 'query_key_value', parts: { q: 128, k: 128, v: 128 }, times: 32 }      head by head
 *     { tensor: 'dense', parts: { o_proj: 4096 } }                                     another name
 */
export interface FusedTensor {
  /** The module that has its weight and bias in files, in the place of `parts`. */
  readonly tensor: string
  /** The modules that have its rows in the model, and how many rows of each follow each other; others are not read. */
  readonly parts: Readonly<Record<string, number>>
  /** How often all parts are repeated; 1 where it is absent. */
  readonly times?: number
}

/** What a model is made for, beside what its config.json says. */
export interface ModelOptions {
  /** The most positions that a sequence will have, where that is fewer than the model could take. */
  contextLength?: number
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
  static readConfig(json: Record<string, unknown>, _options?: ModelOptions): unknown {
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
