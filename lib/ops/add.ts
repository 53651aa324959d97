import { expectMatrix, expectShape } from './check.js'
import type { Tensor } from './tensor.js'

/**
 * The sum of two tensors of one shape: `y[n,c] = a[n,c] + b[n,c]`.
 *
 * @param a (N, C) f32
 * @param b (N, C) f32
 * @returns (N, C) f32
 * @throws {ShapeError} when the shapes differ
 * @throws {DTypeError} when one is not f32
 */
export function add(a: Tensor, b: Tensor): Tensor {
  expectMatrix('add', 'a', a)
  expectShape('add', 'b', b, a.shape)
  return a.record({ op: 'add', inputs: { a, b }, outputs: { y: { shape: a.shape, dtype: 'f32' } } }).y
}
