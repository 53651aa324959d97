import type { Rule } from './call.js'

export const ropeTable: Rule = (call) => {
  const frequencies = call.numbers('frequencies')
  const magnitude = call.number('magnitude')
  const positions = call.integers('positions')
  const P = frequencies.length
  const y = new Float64Array(positions.length * 2 * P)
  positions.forEach((position, n) => {
    frequencies.forEach((frequency, i) => {
      y[2 * n * P + i] = magnitude * Math.cos(position * frequency)
      y[(2 * n + 1) * P + i] = magnitude * Math.sin(position * frequency)
    })
  })
  return { y }
}
