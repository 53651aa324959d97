import type { Call, Rule } from './call.js'
import { slotOf, stepTokens } from './kv-cache.js'
import { rotate } from './rope.js'

export const kvAppend: Rule = (call): ReturnType<Rule> => {
  if (!call.has('table')) {
    append(call, call.floats('k'))
    return {}
  }
  append(call, rotate(call, 'k', call.number('kvHeads')))
  const q = rotate(call, 'q', call.number('heads'))
  return { q }
}

/** Puts the step's keys and values into the call's cache layer. */
export function append(call: Call, k: Float64Array): void {
  const v = call.floats('v')
  const [N, size] = call.size('v')
  stepTokens(call, N).forEach(({ sequence, position }, n) => {
    const row = (x: Float64Array) => x.slice(n * size, (n + 1) * size)
    call.cache.write(call.number('layer'), slotOf(call, sequence, position), { key: row(k), value: row(v) })
  })
}
