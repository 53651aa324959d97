import { expectInteger, expectMatrix, shapeMismatch } from './check.js'
import type { Tensor } from './tensor.js'

/**
 * Some columns of a tensor: `y[n,c] = x[n,start+c]`. It is a view and costs nothing.
 *
 * @param x (N, C) f32
 * @param start first column
 * @param size number of columns; start + size <= C
 * @returns (N, size) f32
 * @throws {ShapeError | DTypeError} when x is not a matrix of f32
 * @throws {RangeError} when the columns are not all in x
 */
export function slice(x: Tensor, start: number, size: number): Tensor {
  const { rows, columns } = expectMatrix('slice', 'x', x)
  expectInteger('slice', 'start', start, 0, columns - 1)
  expectInteger('slice', 'size', size, 1, columns - start)
  return x.record({
    op: 'slice',
    inputs: { x },
    outputs: { y: { shape: [rows, size], dtype: 'f32' } },
    attributes: { start, size },
  }).y
}

/**
 * A tensor cut into views that lie side by side, e.g. `const [q, k, v] = split(x, [width, width, width])`.
 *
 * @param x (N, C) f32
 * @param sizes columns of each view; their sum is C
 * @returns a (N, size) tensor for each size
 * @throws {ShapeError} when the sizes do not add up to C, @throws {DTypeError} when x is not f32
 * @throws {RangeError} when a size is not an integer from 1
 */
export function split<const Sizes extends readonly number[]>(
  x: Tensor,
  sizes: Sizes,
): { [I in keyof Sizes]: Tensor } {
  const { rows, columns } = expectMatrix('split', 'x', x)
  const total = sizes.reduce((sum, size) => sum + size, 0)
  if (total !== columns) throw shapeMismatch('split', 'x', [rows, total], x.shape)
  let start = 0
  const views = sizes.map((size) => {
    const view = slice(x, start, size)
    start += size
    return view
  })
  return views as { [I in keyof Sizes]: Tensor }
}
