import { linear } from '../ops/linear.js'
import type { Tensor } from '../ops/tensor.js'
import type { Embedding } from './embedding.js'
import { Module } from './module.js'
import { parameter } from './parameter.js'

/** A linear layer, `x weight^T + bias`, with a bias unless told otherwise. */
export class Linear extends Module<{ inputs: number; outputs: number; bias: boolean }> {
  weight = parameter([this.config.outputs, this.config.inputs])
  bias = this.config.bias ? parameter([this.config.outputs]) : null

  constructor(inputs: number, outputs: number, { bias = true }: { bias?: boolean } = {}) {
    super({ inputs, outputs, bias })
  }

  /** (N, inputs) -> (N, outputs) */
  forward(x: Tensor): Tensor {
    return linear(x, this.weight, this.bias)
  }
}

/**
 * A linear layer without bias whose weight is an embedding's: the parameter is used twice.
 *
 * Press & Wolf 2017, https://arxiv.org/abs/1608.05859
 */
export class TiedLinear extends Module {
  #embedding: Embedding // private, so that the weight keeps the embedding's path

  constructor(embedding: Embedding) {
    super({})
    this.#embedding = embedding
  }

  /** (N, size) -> (N, count) */
  forward(x: Tensor): Tensor {
    return linear(x, this.#embedding.weight)
  }
}

/** A language model's head: from an embedding's size to its count. */
export type HeadKind = (embedding: Embedding) => Linear | TiedLinear

/** A head that uses the embedding's weight. */
export const tiedHead: HeadKind = (embedding) => new TiedLinear(embedding)

/** A head with a weight of its own, without bias. */
export const untiedHead: HeadKind = ({ config: { size, count } }) => new Linear(size, count, { bias: false })
