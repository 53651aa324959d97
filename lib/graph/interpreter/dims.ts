import { invalidType, invalidValue, ShapeError } from '../../errors.js'
import type { Dim, Value } from '../graph.js'
import { formatShape } from '../graph.js'
import type { NumericTensor } from './call.js'

/** The sizes that a step's free dimensions have. */
export type Sizes = Map<Dim, number>

/** A shape with its free dimensions filled in. */
export function bindShape(value: Value, sizes: Sizes): number[] {
  return value.shape.map((dim) => {
    const size = typeof dim === 'number' ? dim : sizes.get(dim)
    if (size === undefined) throw invalidValue(`graph: ${dim} of ${value.name}`, 'given by an input', size)
    return size
  })
}

/**
 * Finds the free dimensions from the lengths of a step's inputs.
 *
 * @throws {TypeError} when an input is missing or of the wrong type
 * @throws {ShapeError} when inputs disagree
 */
export function bindInputs(
  inputs: readonly Value[],
  given: Readonly<Record<string, Int32Array | Float32Array>>,
): { sizes: Sizes; tensors: NumericTensor[] } {
  const sizes: Sizes = new Map()
  const arrays = inputs.map(({ name, dtype }) => typed(name, dtype, given[name]))
  // An input with one free dimension gives its size; only then can one with two, blockTables (S,W).
  const order = inputs.map((_, i) => i).sort((i, j) => freeDims(inputs[i]!) - freeDims(inputs[j]!))
  for (const i of order) bindInput(inputs[i]!, arrays[i]!.length, sizes)
  const tensors = inputs.map((value, i) => ({ shape: bindShape(value, sizes), data: arrays[i]! }))
  return { sizes, tensors }
}

function typed(name: string, dtype: string, array: unknown): NumericTensor['data'] {
  if (dtype === 'i32' && array instanceof Int32Array) return array
  if (dtype === 'f32' && array instanceof Float32Array) return Float64Array.from(array)
  throw invalidType(`run: inputs.${name}`, dtype === 'i32' ? 'an Int32Array' : 'a Float32Array', array)
}

function freeDims({ shape }: Value): number {
  return shape.filter((dim) => typeof dim !== 'number').length
}

function bindInput({ name, shape }: Value, length: number, sizes: Sizes): void {
  let known = 1
  let unknown: Dim | undefined
  for (const dim of shape) {
    const size = typeof dim === 'number' ? dim : sizes.get(dim)
    if (size === undefined) unknown = dim
    else known *= size
  }
  const size = known > 0 ? length / known : 0
  const fits = unknown === undefined ? length === known : size * known === length && Number.isInteger(size)
  if (!fits) {
    const expected = shape.map((dim) => sizes.get(dim) ?? dim)
    throw new ShapeError(`run: inputs.${name} must be ${formatShape(expected)}, got ${length} elements`)
  }
  if (unknown === undefined) return
  sizes.set(unknown, size)
  for (const [dim, andOne] of [
    ['S', 'S+1'],
    ['R', 'R+1'],
  ] as const) {
    if (unknown === dim) sizes.set(andOne, size + 1)
    if (unknown === andOne) sizes.set(dim, size - 1)
  }
}
