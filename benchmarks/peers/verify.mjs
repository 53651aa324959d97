// Before anything is timed: a contender's logits must be those of the checkpoint, as nearly as its type of weights allows.

import { contenders } from './contenders.mjs'
import { ContenderProcess } from './measure/contender-process.mjs'
import { shapes } from './models/shapes.mjs'

const promptTokens = 24
const rows = 8
const greedyTokens = 16

/**
 * The logits' error against kvasir's f32, root mean square, relative to their spread, by how many bits a weight has. What
 * is wrong altogether is off by more than 1. The error of quantised weights grows with depth and width: 4 bits are off by
 * 0.2 in GPT-2's shape and by 0.5 in Llama's.
 */
const tolerances = { 32: 1e-3, 16: 2e-2, 8: 0.1, 4: 0.7 }
/**
 * llama.cpp's attention computes partly in f16 with weights in f32 too: off by 0.0007 in GPT-2's shape, 0.0022 in Llama's.
 * Without flash attention and with caches in f32 it is off by 0.0004 in GPT-2's, where GELU comes from a table in f16.
 */
const llamaCppTolerance = 5e-3

function toleranceOf({ bits, package: from }) {
  return from === 'node-llama-cpp' ? Math.max(tolerances[bits], llamaCppTolerance) : tolerances[bits]
}

/** What others are compared with: the logits and the tokens of kvasir in f32. */
export async function referenceAnswers(options) {
  return answers(contenders[0], options)
}

/** @returns {Promise<{ relativeError: number, klDivergence: number, sameTop: number, sameGreedyTokens: number }>} */
export async function verify(contender, reference, options) {
  const found = await answers(contender, options)
  const agreement = {
    ...compareLogits(reference.logits, found.logits),
    ...compareTokens(reference.ids, found.ids),
  }
  const tolerance = toleranceOf(contender)
  if (!(agreement.relativeError <= tolerance))
    throw new Error(
      `its logits are off by ${agreement.relativeError.toPrecision(2)} of their spread, ${tolerance} is allowed`,
    )
  return agreement
}

async function answers(contender, { shape, threads }) {
  const { vocab_size } = shapes[shape].config
  const ids = Array.from({ length: promptTokens }, (_, i) => (i * 7919 + 11) % vocab_size)
  const contestant = new ContenderProcess()
  try {
    await contestant.load(contender, { shape, threads })
    const data = await contestant.ask('logits', { ids, rows })
    const logits = Array.from({ length: rows }, (_, i) => data.subarray(i * vocab_size, (i + 1) * vocab_size))
    return { logits, ids: await contestant.ask('greedyIds', { ids, maxTokens: greedyTokens }) }
  } finally {
    await contestant.end()
  }
}

/** Rows are compared one by one, so that a constant added to all of a row's logits counts for nothing. */
function compareLogits(expected, found) {
  const each = expected.map((row, i) => compareRow(row, found[i]))
  const mean = (key) => each.reduce((sum, one) => sum + one[key], 0) / each.length
  return {
    relativeError: Math.sqrt(mean('error') / mean('variance')),
    klDivergence: mean('klDivergence'),
    sameTop: mean('sameTop'),
  }
}

function compareRow(expected, found) {
  const [p, q] = [describeRow(expected), describeRow(found)]
  let [error, variance, klDivergence] = [0, 0, 0]
  for (let i = 0; i < expected.length; i++) {
    const deviation = expected[i] - p.mean
    error += (deviation - (found[i] - q.mean)) ** 2
    variance += deviation ** 2
    const logP = expected[i] - p.logSum
    klDivergence += Math.exp(logP) * (logP - (found[i] - q.logSum))
  }
  return { error, variance, klDivergence, sameTop: p.top === q.top ? 1 : 0 }
}

function describeRow(row) {
  let [sum, top] = [0, 0]
  for (let i = 0; i < row.length; i++) {
    sum += row[i]
    if (row[i] > row[top]) top = i
  }
  let total = 0
  for (const logit of row) total += Math.exp(logit - row[top])
  return { mean: sum / row.length, top, logSum: row[top] + Math.log(total) }
}

/** How many tokens are the same from the first on. */
function compareTokens(expected, found) {
  const different = expected.findIndex((id, i) => id !== found[i])
  return { sameGreedyTokens: different < 0 ? expected.length : different, greedyTokens: expected.length }
}
