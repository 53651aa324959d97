import { addResidual } from './add.js'
import type { Rule } from './call.js'

export const layerNorm: Rule = (call) => {
  const [N, C] = call.size('x')
  const sum = addResidual(call)
  const weight = call.floatsIf('weight')
  const bias = call.floatsIf('bias')
  const y = new Float64Array(N * C)
  for (let n = 0; n < N; n++) {
    const row = sum.subarray(n * C, (n + 1) * C)
    const mean = row.reduce((total, value) => total + value, 0) / C
    const variance = row.reduce((total, value) => total + (value - mean) ** 2, 0) / C
    const deviation = Math.sqrt(variance + call.number('epsilon'))
    for (let c = 0; c < C; c++)
      y[n * C + c] = ((row[c]! - mean) / deviation) * (weight?.[c] ?? 1) + (bias?.[c] ?? 0)
  }
  return { y, sum }
}
