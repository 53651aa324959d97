import { invalidValue } from '../../errors.js'
import type { Rule } from './call.js'

export const embedding: Rule = (call) => {
  const weight = call.floats('weight')
  const [V, C] = call.size('weight')
  const ids = call.integers('ids')
  const y = new Float64Array(ids.length * C)
  ids.forEach((id, n) => {
    if (id < 0 || id >= V) throw invalidValue(`embedding: ids[${n}]`, `from 0 to ${V - 1}`, id)
    y.set(weight.subarray(id * C, (id + 1) * C), n * C)
  })
  return { y }
}
