import type { Rule } from './call.js'
import { isUsable, logSoftmax } from './sample.js'

export const topLogits: Rule = (call) => {
  const [R, V] = call.size('logits')
  const most = call.number('most')
  const counts = call.integers('counts')
  const topIds = new Int32Array(R * most).fill(-1)
  const topLogprobs = new Float64Array(R * most).fill(-Infinity)
  for (let r = 0; r < R; r++) {
    const logits = call.floats('logits').subarray(r * V, (r + 1) * V)
    const allowed = call.floats('allowed').subarray(r * V, (r + 1) * V)
    if (!isUsable(logits) || allowed.includes(Infinity)) continue
    const listed = Array.from(allowed.keys()).filter((id) => allowed[id]! > -Infinity)
    listed.sort((a, b) => allowed[b]! - allowed[a]! || a - b)
    listed.slice(0, counts[r]!).forEach((id, i) => {
      topIds[r * most + i] = id
      topLogprobs[r * most + i] = logSoftmax(logits, id)
    })
  }
  return { topIds, topLogprobs }
}
