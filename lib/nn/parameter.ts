import { Parameter } from '../ops/tensor.js'

/**
 * A new learned array, for a field of a module: `weight = parameter([outputs, inputs])`.
 *
 * @param shape positive integers
 * @throws {TypeError | RangeError} when it is not
 */
export function parameter(shape: readonly number[]): Parameter {
  return new Parameter(shape)
}
