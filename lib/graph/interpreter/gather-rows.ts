import { invalidValue } from '../../errors.js'
import type { Rule } from './call.js'

export const gatherRows: Rule = (call) => {
  const x = call.floats('x')
  const [N, C] = call.size('x')
  const rows = call.integers('rows')
  const y = new Float64Array(rows.length * C)
  rows.forEach((row, r) => {
    if (row < 0 || row >= N) throw invalidValue(`gather-rows: rows[${r}]`, `from 0 to ${N - 1}`, row)
    y.set(x.subarray(row * C, (row + 1) * C), r * C)
  })
  return { y }
}
