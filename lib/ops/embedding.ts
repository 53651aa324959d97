import { expectIndices, expectMatrix } from './check.js'
import type { Tensor, Weight } from './tensor.js'

/**
 * Rows of a table: `y[n,:] = weight[ids[n],:]`.
 *
 * @param ids (N) i32, each in [0, V), which every step checks
 * @param weight (V, C) f32: a parameter, or a constant such as sinusoidal positions
 * @returns (N, C) f32
 * @throws {ShapeError} when `ids` is not a list or `weight` not a matrix
 * @throws {DTypeError} when `ids` is not i32 or `weight` not f32
 */
export function embedding(ids: Tensor, weight: Weight): Tensor {
  const rows = expectIndices('embedding', 'ids', ids, '(N)')
  const { columns } = expectMatrix('embedding', 'weight', weight, '(V, C)')
  return ids.record({
    op: 'embedding',
    inputs: { ids, weight },
    outputs: { y: { shape: [rows, columns], dtype: 'f32' } },
  }).y
}
