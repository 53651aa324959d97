import type { Call, Rule } from './call.js'
import { dot } from './dot-product.js'
import { append } from './kv-append.js'
import type { StepToken } from './kv-cache.js'
import { slotOf, stepTokens } from './kv-cache.js'
import { softmaxInPlace } from './softmax.js'

export const attention: Rule = (call) => {
  if (call.has('k')) append(call, call.floats('k'))
  const [N] = call.size('q')
  const y = new Float64Array(call.floats('q').length)
  stepTokens(call, N).forEach((token, n) => {
    attend(call, token, n, y)
  })
  return { y }
}

/** Writes row `n` of `y`: every head of one token over the positions that it sees. */
function attend(call: Call, { sequence, position }: StepToken, n: number, y: Float64Array): void {
  const H = call.number('heads')
  const D = call.number('headSize')
  const headsPerKey = H / call.number('kvHeads')
  const window = call.number('window')
  const start = window > 0 ? Math.max(0, position - window + 1) : 0
  const rows = Array.from({ length: position + 1 - start }, (_, i) =>
    call.cache.read(call.number('layer'), slotOf(call, sequence, start + i)),
  )
  for (let h = 0; h < H; h++) {
    const query = (n * H + h) * D
    const head = Math.floor(h / headsPerKey) * D
    const scores = Float64Array.from(rows, ({ key }, i) =>
      score(call, h, dot(call.floats('q'), query, key, head, D), start + i - position),
    )
    softmaxInPlace(scores)
    rows.forEach(({ value }, i) => {
      for (let d = 0; d < D; d++) y[query + d]! += scores[i]! * value[head + d]!
    })
  }
}

/** A head's score of a key that is `distance` (0 or less) from the query. */
function score(call: Call, h: number, product: number, distance: number): number {
  const softcap = call.number('softcap')
  const slope = call.floatsIf('slopes')?.[h] ?? 0
  const scaled = call.number('scale') * product
  return (softcap > 0 ? softcap * Math.tanh(scaled / softcap) : scaled) + slope * distance
}
