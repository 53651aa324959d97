import { activationFunction } from './activation.js'
import type { Call, Rule } from './call.js'
import { dot } from './dot-product.js'
import { roundRows } from './round-rows.js'

export const experts: Rule = (call) => {
  const [N, C] = call.size('x')
  const y = new Float64Array(N * C)
  for (let n = 0; n < N; n++)
    for (const { expert, weight } of route(call, n)) {
      const result = feedForward(call, n, expert)
      for (let c = 0; c < C; c++) y[n * C + c]! += weight * result[c]!
    }
  return { y }
}

/** The experts of the largest logits, and their shares. */
function route(call: Call, n: number): { expert: number; weight: number }[] {
  const [, E] = call.size('logits')
  const logits = call.floats('logits').subarray(n * E, (n + 1) * E)
  const largest = Math.max(...logits)
  const powers = logits.map((logit) => Math.exp(logit - largest))
  const order = Array.from(logits.keys()).sort((a, b) => logits[b]! - logits[a]! || a - b)
  const chosen = order.slice(0, call.number('chosen'))
  const counted = call.flag('normalised') ? chosen : order
  const total = counted.reduce((sum, expert) => sum + powers[expert]!, 0)
  return chosen.map((expert) => ({ expert, weight: powers[expert]! / total }))
}

function feedForward(call: Call, n: number, expert: number): Float64Array {
  const [, C] = call.size('x')
  const [, F] = call.size('down')
  const act = activationFunction(call.word('activation'))
  const x = call.floats('x').subarray(n * C, (n + 1) * C)
  const gate = product(call, 'gate', x, expert, F)
  const up = product(call, 'up', x, expert, F)
  const h = gate.map((value, f) => act(value) * up[f]!)
  return product(call, 'down', h, expert, C)
}

/** A row by the expert's matrix among those of a stack. */
function product(call: Call, stack: string, x: Float64Array, expert: number, rows: number): Float64Array {
  const K = x.length
  const weight = call.floats(stack)
  const operand = call.roundsToBytes(stack) ? roundRows(x, K) : x
  return Float64Array.from({ length: rows }, (_, row) =>
    dot(operand, 0, weight, (expert * rows + row) * K, K),
  )
}
