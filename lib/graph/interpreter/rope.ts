import type { Call, Rule } from './call.js'

export const rope: Rule = (call) => ({ y: rotate(call, 'x', call.number('heads')) })

/** The heads of an input, rotated by the call's table. */
export function rotate(call: Call, input: string, heads: number): Float64Array {
  const y = call.floats(input).slice() // (N,H,D)
  const table = call.floats('table') // (N,2P): cosines, then sines
  const [N, P2] = call.size('table')
  const P = P2 / 2
  const D = call.number('headSize')
  const interleaved = call.flag('interleaved')
  for (let n = 0; n < N; n++) {
    for (let h = 0; h < heads; h++) {
      for (let i = 0; i < P; i++) {
        const cos = table[n * P2 + i]!
        const sin = table[n * P2 + P + i]!
        const head = (n * heads + h) * D
        const first = head + (interleaved ? 2 * i : i)
        const second = first + (interleaved ? 1 : P)
        const a = y[first]!
        const b = y[second]!
        y[first] = a * cos - b * sin
        y[second] = b * cos + a * sin
      }
    }
  }
  return y
}
