import type { Rule } from './call.js'
import { philox4x32 } from './philox.js'
import { softmaxInPlace } from './softmax.js'

interface Choice {
  temperature: number
  topK: number
  typicalP: number
  topP: number
  minP: number
  /** In [0,1). */
  u: number
}

interface Candidate {
  id: number
  logit: number
  probability: number
}

export const sample: Rule = (call) => {
  const logits = call.floats('logits')
  const adjusted = call.floatsIf('adjusted') ?? logits
  const [R, V] = call.size('logits')
  const seed = call.integers('seed')
  const ids = new Int32Array(R)
  const logprobs = new Float64Array(R)
  for (let r = 0; r < R; r++) {
    const row = logits.subarray(r * V, (r + 1) * V)
    const choices = adjusted.subarray(r * V, (r + 1) * V)
    const forced = call.has('forced') ? call.integers('forced')[r]! : -1
    const choice: Choice = {
      temperature: call.floats('temperature')[r]!,
      topK: call.integers('topK')[r]!,
      typicalP: call.floatsIf('typicalP')?.[r] ?? 1,
      topP: call.floats('topP')[r]!,
      minP: call.floats('minP')[r]!,
      u: uniform(seed[2 * r]!, seed[2 * r + 1]!, call.integers('counter')[r]!),
    }
    ids[r] = -1
    if (isUsable(row)) ids[r] = forced >= 0 ? forced : isUsable(choices) ? choose(choices, choice) : -1
    logprobs[r] = ids[r] === -1 ? NaN : logSoftmax(row, ids[r]!)
  }
  return { ids, logprobs }
}

/** The first 53 bits of Philox's words, as a fraction. */
function uniform(seedLow: number, seedHigh: number, counter: number): number {
  const [x0, x1] = philox4x32([seedLow >>> 0, seedHigh >>> 0], [counter >>> 0, 0, 0, 0])
  return (x0 * 2 ** 21 + (x1 >>> 11)) / 2 ** 53
}

export function isUsable(row: Float64Array): boolean {
  const largest = row.reduce((max, logit) => Math.max(max, logit), -Infinity)
  return Number.isFinite(largest)
}

function choose(row: Float64Array, { temperature, topK, typicalP, topP, minP, u }: Choice): number {
  if (temperature === 0) return indexOfLargest(row)
  const probabilities = row.map((logit) => logit / temperature)
  softmaxInPlace(probabilities)
  let kept: Candidate[] = Array.from(probabilities, (probability, id) => ({
    id,
    logit: row[id]!,
    probability,
  }))
  // Different logits may have equal probabilities; of two that are -infinity the difference is NaN.
  kept.sort((a, b) => b.logit - a.logit || a.id - b.id)
  if (topK > 0) kept = kept.slice(0, topK)
  if (typicalP < 1) kept = typical(kept, typicalP)
  if (topP < 1) kept = nucleus(kept, topP)
  const least = minP * kept[0]!.probability
  if (minP > 0) kept = kept.filter(({ probability }) => probability >= least)
  return draw(kept, u)
}

function indexOfLargest(row: Float64Array): number {
  return row.reduce((best, logit, id) => (logit > row[best]! ? id : best), 0)
}

/** The shortest list, by how far each surprise is from the mean of them all, that has at least `typicalP`; by logit. */
function typical(candidates: Candidate[], typicalP: number): Candidate[] {
  const total = runningSums(candidates).at(-1)!
  const surprise = ({ probability }: Candidate) => -Math.log(probability / total)
  const entropy = candidates.reduce(
    (sum, one) => (one.probability > 0 ? sum + (one.probability / total) * surprise(one) : sum),
    0,
  )
  const shift = (one: Candidate) => Math.abs(surprise(one) - entropy)
  // Of two infinite ones the difference is NaN.
  const ordered = candidates.toSorted((a, b) => shift(a) - shift(b) || a.id - b.id)
  const kept = new Set(nucleus(ordered, typicalP))
  return candidates.filter((one) => kept.has(one))
}

/** The shortest beginning of `candidates` that has at least `topP` of their probability. */
function nucleus(candidates: Candidate[], topP: number): Candidate[] {
  const sums = runningSums(candidates)
  const wanted = topP * sums.at(-1)!
  return candidates.slice(0, sums.findIndex((sum) => sum >= wanted) + 1)
}

function draw(candidates: Candidate[], u: number): number {
  const ordered = candidates.toSorted((a, b) => a.id - b.id)
  const sums = runningSums(ordered)
  const target = u * sums.at(-1)!
  const found = sums.findIndex((sum) => sum > target)
  // The product can round up to the total itself.
  return (ordered[found] ?? ordered.findLast(({ probability }) => probability > 0)!).id
}

function runningSums(candidates: readonly Candidate[]): number[] {
  let sum = 0
  return candidates.map(({ probability }) => {
    sum += probability
    return sum
  })
}

export function logSoftmax(row: Float64Array, id: number): number {
  const largest = row[indexOfLargest(row)]!
  const sum = row.reduce((partial, logit) => partial + Math.exp(logit - largest), 0)
  return row[id]! - largest - Math.log(sum)
}
