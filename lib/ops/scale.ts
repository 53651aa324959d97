import { expectMatrix, expectNumber } from './check.js'
import type { Tensor } from './tensor.js'

/**
 * `y[n,c] = factor * x[n,c]`.
 *
 * @param x (N, C) f32
 * @returns (N, C) f32
 * @throws {ShapeError | DTypeError} when x is not a matrix of f32
 * @throws {RangeError} when factor is not finite
 */
export function scale(x: Tensor, factor: number): Tensor {
  expectMatrix('scale', 'x', x)
  expectNumber('scale', 'factor', factor)
  return x.record({
    op: 'scale',
    inputs: { x },
    outputs: { y: { shape: x.shape, dtype: 'f32' } },
    attributes: { factor },
  }).y
}
