import type { Call, Rule } from './call.js'

export const add: Rule = (call) => {
  const b = call.floats('b')
  return { y: call.floats('a').map((value, i) => value + b[i]!) }
}

/** Input `x`, plus input `residual` where there is one. */
export function addResidual(call: Call): Float64Array {
  const residual = call.floatsIf('residual')
  const x = call.floats('x')
  return residual ? x.map((value, i) => value + residual[i]!) : x
}
