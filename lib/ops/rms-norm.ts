import { expectInteger, expectMatrix, expectNumber, expectShape, shapeMismatch } from './check.js'
import type { Tensor, Weight } from './tensor.js'

/**
 * Divides each row by its root mean square, then scales its channels.
 *
 *     y[n,c] = x[n,c] / sqrt(mean(x[n,:]^2) + epsilon) * weight[c]
 *
 * With heads, a row is so many of them side by side, each with a norm of its own and all with one weight.
 *
 * Zhang & Sennrich 2019, https://arxiv.org/abs/1910.07467; of queries and keys: Henry et al. 2020,
 * https://arxiv.org/abs/2010.04245
 *
 * @param x (N, C) f32, or (N, heads*D)
 * @param options.weight (C), or (D); ones where absent
 * @param options.epsilon from 0; 1e-6 where absent
 * @param options.heads 1 where absent
 * @returns as x
 * @throws {ShapeError} when x is not whole heads, or weight not as long as one
 * @throws {DTypeError} when one is not f32
 * @throws {RangeError} when epsilon is negative or not finite, or heads not an integer from 1
 */
export function rmsNorm(
  x: Tensor,
  options: { weight?: Weight | null; epsilon?: number; heads?: number } = {},
): Tensor {
  const { weight, epsilon = 1e-6, heads = 1 } = options
  const { rows, columns } = expectMatrix('rms-norm', 'x', x)
  expectInteger('rms-norm', 'heads', heads, 1, 4096)
  if (columns % heads !== 0) throw shapeMismatch('rms-norm', 'x', `(${rows}, ${heads}*D)`, x.shape)
  if (weight) expectShape('rms-norm', 'weight', weight, [columns / heads])
  expectNumber('rms-norm', 'epsilon', epsilon, { from: 0 })
  return x.record({
    op: 'rms-norm',
    inputs: { x, weight },
    outputs: { y: { shape: x.shape, dtype: 'f32' } },
    attributes: heads === 1 ? { epsilon } : { epsilon, heads },
  }).y
}
