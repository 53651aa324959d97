import type { Rule } from './call.js'

export const softmax: Rule = (call) => {
  const [N, C] = call.size('x')
  const y = call.floats('x').slice()
  for (let n = 0; n < N; n++) softmaxInPlace(y.subarray(n * C, (n + 1) * C))
  return { y }
}

/** Turns scores into probabilities. */
export function softmaxInPlace(scores: Float64Array): void {
  const largest = scores.reduce((max, score) => Math.max(max, score), -Infinity)
  let total = 0
  for (let i = 0; i < scores.length; i++) total += scores[i] = Math.exp(scores[i]! - largest)
  for (let i = 0; i < scores.length; i++) scores[i]! /= total
}
