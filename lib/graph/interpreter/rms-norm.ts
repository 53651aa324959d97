import { addResidual } from './add.js'
import type { Rule } from './call.js'

export const rmsNorm: Rule = (call) => {
  const [N, C] = call.size('x')
  const sum = addResidual(call)
  const weight = call.floatsIf('weight')
  const y = new Float64Array(N * C)
  for (let n = 0; n < N; n++) {
    const row = sum.subarray(n * C, (n + 1) * C)
    const meanSquare = row.reduce((total, value) => total + value * value, 0) / C
    const rms = Math.sqrt(meanSquare + call.number('epsilon'))
    for (let c = 0; c < C; c++) y[n * C + c] = (row[c]! / rms) * (weight?.[c] ?? 1)
  }
  return { y, sum }
}
