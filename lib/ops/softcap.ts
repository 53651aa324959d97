import { expectMatrix, expectNumber } from './check.js'
import type { Tensor } from './tensor.js'

/**
 * Bounds numbers smoothly: `y[n,c] = cap * tanh(x[n,c] / cap)`.
 *
 * Bello et al. 2016, https://arxiv.org/abs/1611.09940; of logits: Gemma Team 2024, https://arxiv.org/abs/2408.00118
 *
 * @param x (N, C) f32
 * @param cap above 0
 * @returns (N, C) f32
 * @throws {ShapeError | DTypeError} when x is not a matrix of f32
 * @throws {RangeError} when cap is not a finite number above 0
 */
export function softcap(x: Tensor, cap: number): Tensor {
  expectMatrix('softcap', 'x', x)
  expectNumber('softcap', 'cap', cap, { above: 0 })
  return x.record({
    op: 'softcap',
    inputs: { x },
    outputs: { y: { shape: x.shape, dtype: 'f32' } },
    attributes: { cap },
  }).y
}
