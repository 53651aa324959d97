import { addResidual } from './add.js'
import type { Rule } from './call.js'

export const rmsNorm: Rule = (call) => {
  const [N, columns] = call.size('x')
  const heads = call.node.attributes.heads === undefined ? 1 : call.number('heads')
  const C = columns / heads
  const sum = addResidual(call)
  const weight = call.floatsIf('weight')
  const y = new Float64Array(N * columns)
  for (let i = 0; i < N * heads; i++) {
    const row = sum.subarray(i * C, (i + 1) * C)
    const meanSquare = row.reduce((total, value) => total + value * value, 0) / C
    const rms = Math.sqrt(meanSquare + call.number('epsilon'))
    for (let c = 0; c < C; c++) y[i * C + c] = (row[c]! / rms) * (weight?.[c] ?? 1)
  }
  return { y, sum }
}
