import { expectMatrix, expectNumber, expectShape } from './check.js'
import type { Tensor, Weight } from './tensor.js'

/**
 * Divides each row by its root mean square, then scales its channels.
 *
 *     y[n,c] = x[n,c] / sqrt(mean(x[n,:]^2) + epsilon) * weight[c]
 *
 * Zhang & Sennrich 2019, https://arxiv.org/abs/1910.07467
 *
 * @param x (N, C) f32
 * @param options.weight (C), ones where absent
 * @param options.epsilon from 0; 1e-6 where absent
 * @returns (N, C) f32
 * @throws {ShapeError} when weight is not (C)
 * @throws {DTypeError} when one is not f32
 * @throws {RangeError} when epsilon is negative or not finite
 */
export function rmsNorm(x: Tensor, options: { weight?: Weight | null; epsilon?: number } = {}): Tensor {
  const { weight, epsilon = 1e-6 } = options
  const { columns } = expectMatrix('rms-norm', 'x', x)
  if (weight) expectShape('rms-norm', 'weight', weight, [columns])
  expectNumber('rms-norm', 'epsilon', epsilon, { from: 0 })
  return x.record({
    op: 'rms-norm',
    inputs: { x, weight },
    outputs: { y: { shape: x.shape, dtype: 'f32' } },
    attributes: { epsilon },
  }).y
}
