import { expectMatrix } from './check.js'
import type { Tensor } from './tensor.js'

/**
 * Each row as probabilities: `y[n,c] = e^(x[n,c] - max x[n,:]) / sum_j e^(x[n,j] - max x[n,:])`.
 *
 * @param x (N, C) f32
 * @returns (N, C) f32
 * @throws {ShapeError | DTypeError} when x is not a matrix of f32
 */
export function softmax(x: Tensor): Tensor {
  expectMatrix('softmax', 'x', x)
  return x.record({ op: 'softmax', inputs: { x }, outputs: { y: { shape: x.shape, dtype: 'f32' } } }).y
}
