import { sameShape } from '../graph/graph.js'
import { expectDType, expectMatrix, expectShape, shapeMismatch } from './check.js'
import type { Tensor, Weight } from './tensor.js'

/**
 * A linear layer: `y[n,o] = sum_k x[n,k] weight[o,k] + bias[o]`.
 *
 * Sums are f32, whatever the weight is held in.
 *
 * @param x (N, K) f32
 * @param weight (O, K), a row for each output
 * @param bias (O), or none
 * @returns (N, O) f32
 * @throws {ShapeError} when the three do not fit together
 * @throws {DTypeError} when one is not f32
 */
export function linear(x: Tensor, weight: Weight, bias?: Weight | null): Tensor {
  const { rows, columns } = expectMatrix('linear', 'x', x, '(N, K)')
  const { rows: outputs, columns: inputs } = expectMatrix('linear', 'weight', weight, '(O, K)')
  if (bias) expectDType('linear', 'bias', bias, 'f32')
  if (inputs !== columns) {
    // A weight that would fit transposed is at fault, else x.
    const transposed = outputs === columns && (!bias || sameShape(bias.shape, [inputs]))
    if (transposed) throw shapeMismatch('linear', 'weight', [inputs, columns], weight.shape)
    throw shapeMismatch('linear', 'x', [rows, inputs], x.shape)
  }
  if (bias) expectShape('linear', 'bias', bias, [outputs])
  return x.record({
    op: 'linear',
    inputs: { x, weight, bias },
    outputs: { y: { shape: [rows, outputs], dtype: 'f32' } },
    attributes: { activation: 'none', gated: false },
  }).y
}
