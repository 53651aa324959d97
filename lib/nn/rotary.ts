import { invalidType, invalidValue } from '../errors.js'
import { expectNumber, shapeMismatch } from '../ops/check.js'
import { rope } from '../ops/rope.js'
import { ropeTable } from '../ops/rope-table.js'
import type { Tensor } from '../ops/tensor.js'
import { Positions } from './positions.js'
import type { RopeScaling } from './rope-scaling.js'
import { unscaled } from './rope-scaling.js'
import type { Step } from './step.js'

export interface RotaryOptions {
  /** Base of the frequencies, above 1; 10000 by default. */
  theta?: number
  /** `linearScaling`, `ntkScaling`, `yarnScaling`, `llama3Scaling` or one's own; none by default. */
  scaling?: RopeScaling
  /** Share of each head's channels that rotate, from the first; all by default. */
  partial?: number
  /** Pairs are channels 2i and 2i+1, as in GPT-J; by default i and i + P, the halves of what rotates. */
  interleaved?: boolean
}

/** Queries and keys turned by angles that grow with their positions. */
class Rotary extends Positions<Required<RotaryOptions>> {
  /** @throws {ShapeError} when heads are not of one size, @throws {RangeError} when an odd number of channels would rotate */
  override rotate(x: Tensor, step: Step, heads: number): Tensor {
    const { theta, scaling, partial, interleaved } = this.config
    const headSize = Number(x.shape[1]) / heads
    if (!Number.isInteger(headSize)) throw shapeMismatch('rotary', 'x', `(N, ${heads}*D)`, x.shape)
    const rotated = rotatedChannels(headSize, partial)
    if (rotated === 0 || rotated % 2 !== 0)
      throw invalidValue('rotary: rotated channels of a head', 'a positive even number', rotated)
    const table = ropeTable(step.positions, scaling(theta, rotated)) // (N,2P)
    return rope(x, table, { heads, interleaved })
  }
}

/**
 * Rotary positions: scores depend on the distance of query and key alone.
 *
 * Su et al. 2021, https://arxiv.org/abs/2104.09864; the formula is with `rope`.
 *
 * @throws {TypeError | RangeError} when theta is not above 1 or partial not above 0 and at most 1
 */
export function rotary(options: RotaryOptions = {}): Positions {
  const { theta = 10000, scaling = unscaled, partial = 1, interleaved = false } = options
  expectNumber('rotary', 'theta', theta, { above: 1 })
  expectNumber('rotary', 'partial', partial, { above: 0, to: 1 })
  if (typeof scaling !== 'function')
    throw invalidType('rotary: scaling', 'a function such as linearScaling(2)', scaling)
  return new Rotary({ theta, scaling, partial, interleaved })
}

/** How many of a head's channels rotate. */
export function rotatedChannels(headSize: number, partial: number): number {
  // A count that was turned into a share must survive rounding: 30 of 44 channels would become 29.
  return Math.floor(headSize * partial + 1e-6)
}
