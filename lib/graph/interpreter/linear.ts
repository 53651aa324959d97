import { activationFunction } from './activation.js'
import type { Call, Rule } from './call.js'
import { dot } from './dot-product.js'
import { roundRows, roundToBF16 } from './round-rows.js'

export const linear: Rule = (call) => {
  const [M] = call.size('x')
  const [O] = call.size('weight')
  const act = activationFunction(call.word('activation'))
  const sums = affine(call, M, O)
  const y = call.flag('gated') ? gated(sums, M, O / 2, act) : sums.map(act)
  const residual = call.floatsIf('residual')
  return { y: residual ? y.map((value, i) => value + residual[i]!) : y }
}

/** `x weight^T + bias` (M,O) */
function affine(call: Call, M: number, O: number): Float64Array {
  const [, K] = call.size('x')
  const x = operand(call, K)
  const weight = call.floats('weight')
  const bias = call.floatsIf('bias')
  const sums = new Float64Array(M * O)
  for (let o = 0; o < O; o++) {
    const b = bias ? bias[o]! : 0
    for (let m = 0; m < M; m++) sums[m * O + o] = dot(x, m * K, weight, o * K, K) + b
  }
  return sums
}

/** x (M,K) as it is multiplied. */
function operand(call: Call, K: number): Float64Array {
  const x = call.floats('x')
  if (call.roundsToBytes('weight')) return roundRows(x, K)
  return call.node.attributes.roundsOperand === true ? x.map(roundToBF16) : x
}

/** The gate's F columns, activated, times the F columns after them. */
function gated(sums: Float64Array, M: number, F: number, act: (x: number) => number): Float64Array {
  const y = new Float64Array(M * F)
  for (let m = 0; m < M; m++) {
    for (let f = 0; f < F; f++) y[m * F + f] = act(sums[2 * m * F + f]!) * sums[(2 * m + 1) * F + f]!
  }
  return y
}
