import { expectIndices, expectMatrix } from './check.js'
import type { Tensor } from './tensor.js'

/**
 * Some rows of a tensor: `y[r,:] = x[rows[r],:]`.
 *
 * @param x (N, C) f32
 * @param rows (R) i32, each in [0, N), which every step checks; mostly `step.outputRows`
 * @returns (R, C) f32
 * @throws {ShapeError} when x is not a matrix or rows not a list
 * @throws {DTypeError} when x is not f32 or rows not i32
 */
export function gatherRows(x: Tensor, rows: Tensor): Tensor {
  const { columns } = expectMatrix('gather-rows', 'x', x)
  const length = expectIndices('gather-rows', 'rows', rows, '(R)')
  return x.record({
    op: 'gather-rows',
    inputs: { x, rows },
    outputs: { y: { shape: [length, columns], dtype: 'f32' } },
  }).y
}
