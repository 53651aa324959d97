import { invalidType } from '../errors.js'
import { expectIndices, expectInteger, expectNumber } from './check.js'
import type { Tensor } from './tensor.js'

/**
 * Cosines and sines of rotary positions, which all layers that turn alike share.
 *
 *     y[n,i]   = magnitude * cos(positions[n] * frequencies[i])
 *     y[n,P+i] = magnitude * sin(positions[n] * frequencies[i])
 *
 * Angles are f64. Recorded once for each set of frequencies, however often it is asked for.
 *
 * @param positions (N) i32
 * @param options.frequencies (P) radians a position
 * @param options.magnitude factor on both; 1 where absent
 * @returns (N, 2P) f32
 * @throws {ShapeError} when positions is not a list
 * @throws {DTypeError} when positions is not i32
 * @throws {RangeError} when a frequency is not finite, there are none, or magnitude is not above 0
 */
export function ropeTable(
  positions: Tensor,
  options: { frequencies: readonly number[]; magnitude?: number },
): Tensor {
  const { frequencies, magnitude = 1 } = options
  const rows = expectIndices('rope-table', 'positions', positions, '(N)')
  if (!Array.isArray(frequencies))
    throw invalidType('rope-table: frequencies', 'an array of numbers', frequencies)
  expectInteger('rope-table', 'frequencies.length', frequencies.length, 1, 2 ** 20)
  for (const [i, frequency] of frequencies.entries())
    expectNumber('rope-table', `frequencies[${i}]`, frequency)
  expectNumber('rope-table', 'magnitude', magnitude, { above: 0 })
  const key = `rope-table ${positions.value.id} ${magnitude} ${frequencies.join(' ')}`
  return positions.recording.once(
    key,
    () =>
      positions.record({
        op: 'rope-table',
        name: 'rope',
        inputs: { positions },
        outputs: { y: { shape: [rows, 2 * frequencies.length], dtype: 'f32' } },
        attributes: { frequencies: [...frequencies], magnitude },
      }).y,
  )
}
