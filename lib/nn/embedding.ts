import { embedding } from '../ops/embedding.js'
import type { Tensor } from '../ops/tensor.js'
import { Module } from './module.js'
import { parameter } from './parameter.js'

/** A learned table of `count` rows of `size` channels. */
export class Embedding extends Module<{ count: number; size: number }> {
  weight = parameter([this.config.count, this.config.size])

  constructor(count: number, size: number) {
    super({ count, size })
  }

  /** ids (N) i32 -> (N, size) */
  forward(ids: Tensor): Tensor {
    return embedding(ids, this.weight)
  }
}
