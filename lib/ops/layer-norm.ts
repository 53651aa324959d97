import { expectMatrix, expectNumber, expectShape } from './check.js'
import type { Tensor, Weight } from './tensor.js'

/**
 * Normalises each row to mean 0 and variance 1, then scales and shifts its channels.
 *
 *     y[n,c] = (x[n,c] - mean(x[n,:])) / sqrt(var(x[n,:]) + epsilon) * weight[c] + bias[c]
 *
 * Ba, Kiros & Hinton 2016, https://arxiv.org/abs/1607.06450
 *
 * @param x (N, C) f32
 * @param options.weight (C), ones where absent
 * @param options.bias (C), zeros where absent
 * @param options.epsilon from 0; 1e-5 where absent
 * @returns (N, C) f32
 * @throws {ShapeError} when weight or bias is not (C)
 * @throws {DTypeError} when one is not f32
 * @throws {RangeError} when epsilon is negative or not finite
 */
export function layerNorm(
  x: Tensor,
  options: { weight?: Weight | null; bias?: Weight | null; epsilon?: number } = {},
): Tensor {
  const { weight, bias, epsilon = 1e-5 } = options
  const { columns } = expectMatrix('layer-norm', 'x', x)
  if (weight) expectShape('layer-norm', 'weight', weight, [columns])
  if (bias) expectShape('layer-norm', 'bias', bias, [columns])
  expectNumber('layer-norm', 'epsilon', epsilon, { from: 0 })
  return x.record({
    op: 'layer-norm',
    inputs: { x, weight, bias },
    outputs: { y: { shape: x.shape, dtype: 'f32' } },
    attributes: { epsilon },
  }).y
}
