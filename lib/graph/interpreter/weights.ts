import { ShapeError } from '../../errors.js'
import type { Value } from '../graph.js'
import type { NumericTensor } from './call.js'

/** Gives the numbers of a parameter by its path, row-major. */
export type WeightSource = (parameter: string) => Float64Array | Float32Array

/** A weight put together from its parameters, row after row; an interleaved one has its gate's rows first. */
export function assembleWeight(value: Value, source: WeightSource): NumericTensor {
  const shape = value.shape as readonly number[]
  const rowSize = shape.slice(1).reduce((product, dim) => product * dim, 1)
  const parts = value.parts ?? [{ parameter: value.name, rows: shape[0] ?? 1 }]
  const data = new Float64Array(parts.reduce((rows, part) => rows + part.rows, 0) * rowSize)
  let offset = 0
  for (const { parameter, rows } of parts) {
    const numbers = source(parameter)
    if (numbers.length !== rows * rowSize) {
      throw new ShapeError(`weight: ${parameter} must have ${rows * rowSize} elements, got ${numbers.length}`)
    }
    data.set(numbers, offset)
    offset += numbers.length
  }
  return { shape, data }
}
