import { KvasirError } from '../../errors.js'
import type { Rule } from './call.js'
import { erfc } from './erfc.js'

// Every function here tends to 0 at -infinity, where its formula would multiply infinity by zero.
const functions: Record<string, (x: number) => number> = {
  none: (x) => x,
  relu: (x) => Math.max(x, 0),
  gelu: (x) => (x === -Infinity ? 0 : (x / 2) * erfc(-x / Math.SQRT2)),
  // x/2 (1 + tanh u) = x / (1 + e^-2u), without the cancellation where tanh u is near -1
  'gelu-tanh': (x) => {
    const u = Math.sqrt(2 / Math.PI) * (x + 0.044715 * x * x * x)
    return x === -Infinity ? 0 : x / (1 + Math.exp(-2 * u))
  },
  silu: (x) => (x === -Infinity ? 0 : x / (1 + Math.exp(-x))),
}

/** The function of an activation's kind; `none` is the identity. */
export function activationFunction(kind: string): (x: number) => number {
  const known = Object.hasOwn(functions, kind) ? functions[kind] : undefined
  if (known) return known
  const kinds = Object.keys(functions).join(', ')
  throw new KvasirError('ERR_UNSUPPORTED', `activation: kind must be one of ${kinds}, got ${kind}`)
}

export const activation: Rule = (call) => {
  const act = activationFunction(call.word('kind'))
  const x = call.floats('x')
  const up = call.floatsIf('up')
  return { y: x.map((value, i) => (up ? act(value) * up[i]! : act(value))) }
}
