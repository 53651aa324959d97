import type { ShapeError } from '../errors.js'
import type { Dim } from '../graph/graph.js'
import { expectDType, expectMatrix, shapeMismatch } from './check.js'
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
  const [outputs, inputs] = matrixShape(weight)
  if (bias) expectDType('linear', 'bias', bias, 'f32')
  const biasSize = bias?.shape[0]
  if (inputs !== columns) throw misfit(x, weight, rows, columns, biasSize)
  if (bias && (bias.shape.length !== 1 || biasSize !== outputs))
    throw shapeMismatch('linear', 'bias', [outputs], bias.shape)
  return x.record({
    op: 'linear',
    inputs: { x, weight, bias },
    outputs: { y: { shape: [rows, outputs], dtype: 'f32' } },
    attributes: { activation: 'none', gated: false },
  }).y
}

function matrixShape(weight: Weight): [outputs: Dim, inputs: number] {
  const { rows, columns } = expectMatrix('linear', 'weight', weight, '(O, K)')
  return [rows, columns]
}

/** A weight that would fit transposed is named as the culprit, else `x`. */
function misfit(x: Tensor, weight: Weight, rows: Dim, columns: number, biasSize?: Dim): ShapeError {
  const [outputs, inputs] = matrixShape(weight)
  const transposed = outputs === columns && (biasSize === undefined || biasSize === inputs)
  if (transposed) return shapeMismatch('linear', 'weight', [inputs, columns], weight.shape)
  return shapeMismatch('linear', 'x', [rows, inputs], x.shape)
}
