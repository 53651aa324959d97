// One contender measured once with some number of texts.

import { ContenderProcess } from '../peers/measure/contender-process.mjs'
import { shapes } from '../peers/models/shapes.mjs'
import { abortInTime, promptOf } from '../peers/rounds.mjs'
import { median } from '../statistics.mjs'

const shape = 'gpt2'
const script = new URL('./process.mjs', import.meta.url)
const shortPrompt = 8
/** As long as the engine's budget for prompts in a step in which others are continued. */
export const arrivingPrompt = 128
const longPrompt = 900
const sharedPrompt = 512
/** Tokens of each text before another request arrives. */
const calmTokens = 8

const promptsOf = (length, count, seed) =>
  Array.from({ length: count }, (_, i) =>
    promptOf(length, { vocabulary: shapes[shape].config.vocab_size, seed: 1000 * seed + i }),
  )

async function inProcess(contender, { threads, sequences }, body) {
  const contestant = new ContenderProcess(script)
  try {
    await contestant.load(contender, { shape, threads, sequences })
    return await body(contestant)
  } finally {
    await contestant.end()
  }
}

/** How many of `count` texts are the same alone and together. */
export function verify(contender, { count, threads, effort }) {
  // Of different lengths: some are fed while others are continued already.
  const prompts = promptsOf(0, count, 1).map((_, i) => promptsOf(5 + 11 * i, 1, 2 + i)[0])
  return inProcess(contender, { threads, sequences: count }, (contestant) =>
    contestant.ask('verify', { prompts, tokens: effort.verifyTokens }),
  )
}

/** What it is worth that prompts begin alike: `count` of 512 tokens at once, all different and all the same. */
export function measureSharing(contender, { count, threads }) {
  return inProcess(contender, { threads, sequences: count }, async (contestant) => {
    await contestant.ask('prefill', { prompts: promptsOf(sharedPrompt, 1, 3) }) // warms up
    const different = await contestant.ask('prefill', { prompts: promptsOf(sharedPrompt, count, 4) })
    const [one] = promptsOf(sharedPrompt, 1, 5)
    const same = await contestant.ask('prefill', { prompts: Array.from({ length: count }, () => one) })
    return { count, promptTokens: sharedPrompt, different, same }
  })
}

/** @returns {Promise<object>} the figures of one round, as they are in the JSON */
export function measureRound({ contender, count }, { threads, effort, round }) {
  return inProcess(contender, { threads, sequences: count }, async (contestant) => {
    const prompts = promptsOf(shortPrompt, count, 10 * round)
    await contestant.ask('decode', { prompts, tokens: 4 }) // warms up
    const decode = await contestant.ask('decode', { prompts, tokens: effort.decodeTokens })
    const others = prompts.slice(1)
    const arrivals = []
    for (const ids of promptsOf(arrivingPrompt, effort.arrivals, 10 * round + 1))
      arrivals.push(await contestant.ask('arrive', { prompts: others, ids, calmTokens }))
    const firstTokenMs = median(arrivals.map((one) => one.firstTokenMs))
    const aborts = await measureAborts(contestant, { others, decode, firstTokenMs, effort, round })
    const { peakBytes } = await contestant.ask('memory')
    return {
      decodeRate: decode.rate,
      steps: decode.steps,
      firstTokenMs,
      gapsMs: describe(arrivals.flatMap((one) => one.gapsMs)),
      calmGapsMs: describe(arrivals.flatMap((one) => one.calmGapsMs)),
      delays: { decode: decode.delay, arrivals: worst(arrivals.map((one) => one.delay)) },
      aborts,
      peakBytes,
    }
  })
}

/** Of each kind the median: half way into a long prompt, and in decode after some tokens. */
async function measureAborts(contestant, { others, decode, firstTokenMs, effort, round }) {
  const [long] = promptsOf(longPrompt, 1, 10 * round + 2)
  const [short] = promptsOf(shortPrompt, 1, 10 * round + 3)
  const msPerToken = (1000 * (others.length + 1)) / decode.rate
  const prefillMs = (firstTokenMs * longPrompt) / arrivingPrompt
  const cases = {
    prefill: { ids: long, maxTokens: 1, dueMs: prefillMs / 2 },
    decode: { ids: short, maxTokens: 64, dueMs: 16.5 * msPerToken },
  }
  const results = {}
  for (const [name, options] of Object.entries(cases)) {
    const each = []
    for (let i = 0; i < effort.aborts; i++)
      each.push((await abortInTime(contestant, { prompts: others, ...options })).settledMs)
    results[name] = median(each)
  }
  return results
}

function worst(delays) {
  const most = (name) => Math.max(...delays.map((delay) => delay[name]))
  return { p99Ms: most('p99Ms'), maxMs: most('maxMs') }
}

function describe(gaps) {
  if (gaps.length === 0) return null
  const sorted = gaps.toSorted((a, b) => a - b)
  const at = (share) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))]
  return { median: median(sorted), p99: at(0.99), max: sorted.at(-1) }
}
