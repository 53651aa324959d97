import { invalidValue } from '../errors.js'
import { expectInteger } from '../ops/check.js'
import { embedding } from '../ops/embedding.js'
import { Tensor } from '../ops/tensor.js'
import { Module } from './module.js'
import { parameter } from './parameter.js'
import type { Step } from './step.js'

/**
 * How a model knows where a token stands. Each kind acts in one of three places and leaves the other two alone: on
 * the embeddings, on queries and keys, or on attention's scores.
 */
export class Positions<Config = object> extends Module<Config> {
  /** Of embeddings (N, C), those with positions (N, C). */
  forward(x: Tensor, _step: Step): Tensor {
    return x
  }

  /** Of queries or keys (N, heads*D), the rotated ones (N, heads*D). */
  rotate(x: Tensor, _step: Step, _heads: number): Tensor {
    return x
  }

  /** (heads) slopes of the bias on scores, or null for no bias. */
  slopes(_step: Step, _heads: number): Tensor | null {
    return null
  }
}

/** No positions: order is known from the causal mask alone. Haviv et al. 2022, https://arxiv.org/abs/2203.16634 */
export function noPositions(): Positions {
  return new Positions({})
}

/** A learned vector for each position, added to the embeddings. */
class Learned extends Positions<{ count: number; size: number }> {
  weight = parameter([this.config.count, this.config.size])

  override forward(x: Tensor, step: Step): Tensor {
    return x.add(embedding(step.positions, this.weight)) // (N,C)
  }
}

/**
 * A learned vector for each position, added to the embeddings, as GPT-2 has it.
 *
 * @param count positions
 * @param size channels of the embeddings
 * @throws {TypeError | RangeError} when they are not positive integers
 */
export function learned(count: number, size: number): Positions {
  return new Learned({ count, size })
}

/** Sine waves of geometrically growing length, added to the embeddings. */
class Sinusoidal extends Positions<{ count: number; size: number }> {
  override forward(x: Tensor, step: Step): Tensor {
    const { count, size } = this.config
    const { recording } = step
    const table = recording.once(`sinusoidal ${count} ${size}`, () =>
      recording.constant('sinusoidal', sinusoidalTable(count, size), [count, size]),
    )
    return x.add(embedding(step.positions, new Tensor(recording, table))) // (N,C)
  }
}

/** 256 MiB: the table is part of the graph. */
export const maxSinusoidalElements = 2 ** 26

/**
 * Sine waves added to the embeddings, as the first transformer has them:
 *
 *     table[p,2i]   = sin(p / 10000^(2i/C))
 *     table[p,2i+1] = cos(p / 10000^(2i/C))
 *
 * Vaswani et al. 2017, https://arxiv.org/abs/1706.03762, section 3.5. Computed in f64, held as f32.
 *
 * @param count positions
 * @param size channels of the embeddings, C
 * @throws {TypeError | RangeError} when they are not positive integers, or the table is above 2^26 elements
 */
export function sinusoidal(count: number, size: number): Positions {
  expectInteger('sinusoidal', 'count', count, 1, maxSinusoidalElements)
  expectInteger('sinusoidal', 'size', size, 1, maxSinusoidalElements)
  if (count * size > maxSinusoidalElements)
    throw invalidValue('sinusoidal: count * size', 'at most 2^26', count * size)
  return new Sinusoidal({ count, size })
}

function sinusoidalTable(count: number, size: number): Float32Array {
  const table = new Float32Array(count * size)
  for (let c = 0; c < size; c++) {
    const frequency = 10000 ** (-(c - (c % 2)) / size)
    const wave = c % 2 === 0 ? Math.sin : Math.cos
    for (let p = 0; p < count; p++) table[p * size + c] = wave(p * frequency)
  }
  return table
}

/** A bias on scores that falls with distance. */
class Alibi extends Positions {
  override slopes({ recording }: Step, heads: number): Tensor {
    const value = recording.once(`alibi ${heads}`, () =>
      recording.constant('alibi', Float32Array.from(alibiSlopes(heads)), [heads]),
    )
    return new Tensor(recording, value)
  }
}

/**
 * Attention with linear biases: head h's score of a key d positions back falls by slopes[h] * d.
 *
 * Press et al. 2021, https://arxiv.org/abs/2108.12409
 */
export function alibi(): Positions {
  return new Alibi({})
}

/**
 * `2^(-8/H), 2^(-16/H), ... 2^-8` for a power of two; for another number of heads, the slopes of the power of two
 * below it and then every other one of the power above, as the paper's code has it.
 */
export function alibiSlopes(heads: number): number[] {
  const power = 2 ** Math.floor(Math.log2(heads))
  return Array.from({ length: heads }, (_, h) =>
    h < power ? 2 ** ((-8 * (h + 1)) / power) : 2 ** ((-4 * (2 * (h - power) + 1)) / power),
  )
}
