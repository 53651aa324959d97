import { DTypeError, invalidType, invalidValue, ShapeError } from '../errors.js'
import type { Dim, DType, Shape } from '../graph/graph.js'
import { formatShape, sameShape } from '../graph/graph.js'

/** What a tensor and a parameter have in common. */
export interface Shaped {
  readonly shape: Shape
  readonly dtype: DType
}

/** `linear: weight must be (3072, 768), got (768, 3072)` */
export function shapeMismatch(
  op: string,
  argument: string,
  expected: Shape | string,
  found: Shape,
): ShapeError {
  const wanted = typeof expected === 'string' ? expected : formatShape(expected)
  return new ShapeError(`${op}: ${argument} must be ${wanted}, got ${formatShape(found)}`)
}

/** @throws {TypeError} when `x` is no tensor, @throws {DTypeError} `embedding: ids must be i32, got f32` */
export function expectDType(op: string, argument: string, x: Shaped, dtype: DType): void {
  if (!Array.isArray(x?.shape)) throw invalidType(`${op}: ${argument}`, 'a tensor', x)
  if (x.dtype !== dtype) throw new DTypeError(`${op}: ${argument} must be ${dtype}, got ${x.dtype}`)
}

/** @throws {ShapeError} when `x` has another shape, @throws {TypeError | DTypeError} when it is no `dtype` tensor */
export function expectShape(
  op: string,
  argument: string,
  x: Shaped,
  shape: Shape,
  dtype: DType = 'f32',
): void {
  expectDType(op, argument, x, dtype)
  if (!sameShape(x.shape, shape)) throw shapeMismatch(op, argument, shape, x.shape)
}

/**
 * The sizes of an f32 matrix. Its rows may be free, its columns are a number.
 *
 * @param form how a message names the shape
 * @throws {ShapeError} when `x` has another number of dimensions, @throws {TypeError | DTypeError} when it is not f32
 */
export function expectMatrix(
  op: string,
  argument: string,
  x: Shaped,
  form = '(N, C)',
): { rows: Dim; columns: number } {
  expectDType(op, argument, x, 'f32')
  const [rows, columns] = x.shape
  if (x.shape.length !== 2 || rows === undefined || typeof columns !== 'number')
    throw shapeMismatch(op, argument, form, x.shape)
  return { rows, columns }
}

/** The length of a list of indices, e.g. `N`. @throws {TypeError | DTypeError | ShapeError} when `x` is not i32 (N) */
export function expectIndices(op: string, argument: string, x: Shaped, form: string): Dim {
  expectDType(op, argument, x, 'i32')
  const [length] = x.shape
  if (x.shape.length !== 1 || length === undefined) throw shapeMismatch(op, argument, form, x.shape)
  return length
}

/** @throws {TypeError | RangeError} when `value` is not a finite number within the bounds that are given */
export function expectNumber(
  op: string,
  argument: string,
  value: number,
  bounds: { above?: number; from?: number; to?: number } = {},
): void {
  if (typeof value !== 'number') throw invalidType(`${op}: ${argument}`, 'a number', value)
  const { above = -Infinity, from = -Infinity, to = Infinity } = bounds
  if (Number.isFinite(value) && value > above && value >= from && value <= to) return
  const words = Object.entries(bounds).map(([bound, limit]) => ` ${bound} ${limit}`)
  throw invalidValue(`${op}: ${argument}`, `a finite number${words.join('')}`, value)
}

/** @throws {TypeError | RangeError} when `value` is not an integer from `min` to `max` */
export function expectInteger(op: string, argument: string, value: number, min: number, max: number): void {
  if (typeof value !== 'number') throw invalidType(`${op}: ${argument}`, 'a number', value)
  if (!Number.isInteger(value) || value < min || value > max)
    throw invalidValue(`${op}: ${argument}`, `an integer from ${min} to ${max}`, value)
}
