import { invalidValue } from '../../errors.js'
import type { Rule } from './call.js'

export const slice: Rule = (call) => {
  const x = call.floats('x')
  const [N, C] = call.size('x')
  const start = call.number('start')
  const size = call.number('size')
  if (start < 0 || size < 0 || start + size > C) {
    throw invalidValue('slice: start and size', `within ${C} columns`, `${start} and ${size}`)
  }
  const y = new Float64Array(N * size)
  for (let n = 0; n < N; n++) y.set(x.subarray(n * C + start, n * C + start + size), n * size)
  return { y }
}
