// One contender measured once, beside probes of what the machine can do at that moment.
import { setTimeout as sleep } from 'node:timers/promises'
import { productRate } from '../product-rate.mjs'
import { median } from '../statistics.mjs'
import { ContenderProcess } from './measure/contender-process.mjs'
import { dimensions, shapes } from './models/shapes.mjs'

const decodePrompt = 8
const probeBytes = 2 ** 29
/** Threads of a contender may go on spinning for a while, which probes would suffer from. */
const settleMs = 100

/** How much is done; `decodeTokens` is the shape's own where it is not said. */
export const efforts = {
  full: { rounds: 5, prefills: 3, decodes: 2, aborts: 3 },
  quick: { rounds: 1, prefills: 2, decodes: 1, aborts: 1, decodeTokens: 48 },
}

/** @returns {Promise<object>} the figures of one round, as they are in the JSON */
export async function measureRound(contender, { shape, threads, probe, effort, round }) {
  const contestant = new ContenderProcess()
  try {
    const loading = await contestant.load(contender, { shape, threads })
    const { promptTokens, config } = shapes[shape]
    const decodeTokens = effort.decodeTokens ?? shapes[shape].decodeTokens
    const prompts = Array.from({ length: effort.prefills + 1 }, (_, i) =>
      promptOf(promptTokens, { vocabulary: config.vocab_size, seed: round * 100 + i }),
    )
    await contestant.ask('prefill', { prompts: prompts.slice(0, 1) }) // warms up
    const [prefill, rate] = await beside(
      () => productRate(probe, contender.type),
      () => contestant.ask('prefill', { prompts: prompts.slice(1) }),
    )
    const ids = prompts[0].slice(0, decodePrompt)
    const [decode, readRate] = await beside(
      () => probe.probeRead(probeBytes),
      () => contestant.ask('decode', { ids, tokens: decodeTokens, repetitions: effort.decodes }),
    )
    const { peakBytes } = await contestant.ask('memory')
    const prefillMs = median(prefill.ms)
    const perToken = median(decode.msPerToken)
    const aborts = await measureAborts(contestant, { prompts, prefillMs, perToken, decodeTokens, effort })
    return {
      loadMs: loading.loadMs,
      importMs: loading.importMs,
      loadedBytes: loading.memory.residentBytes,
      loadedMappedBytes: loading.memory.mappedBytes,
      peakBytes,
      prefillRate: promptTokens / (prefillMs / 1000),
      prefillShare: prefillWork(shape) / (prefillMs / 1000) / rate,
      decodeRate: 1000 / perToken,
      decodeShare: decodeBytes(shape, { ...contender, decodeTokens }) / (perToken / 1000) / readRate,
      rate,
      readRate,
      delays: { loading: loading.delay, prefill: prefill.delay, decode: decode.delay },
      aborts,
    }
  } finally {
    await contestant.end()
  }
}

/** What `measure` found, and the mean of what `probe` found before it and after it. */
async function beside(probe, measure) {
  await sleep(settleMs)
  const before = probe()
  const result = await measure()
  await sleep(settleMs)
  return [result, (before + probe()) / 2]
}

/** Of each kind the median: in a prefill at its middle, in decode after a few tokens. */
async function measureAborts(contestant, { prompts, prefillMs, perToken, decodeTokens, effort }) {
  const cases = {
    prefill: () => ({ ids: prompts[0], maxTokens: 1, dueMs: prefillMs / 2 }),
    decode: (i) => ({
      ids: prompts[0].slice(0, decodePrompt),
      maxTokens: decodeTokens,
      dueMs: perToken * (20 + (i + 1) / (effort.aborts + 1)),
    }),
  }
  const results = {}
  for (const [name, options] of Object.entries(cases)) {
    const each = []
    for (let i = 0; i < effort.aborts; i++) each.push(await abortInTime(contestant, options(i)))
    results[name] = {
      settledMs: median(each.map((one) => one.settledMs)),
      idleMs: median(each.map((one) => one.idleMs)),
    }
  }
  return results
}

/** On a machine that others use too, work may be done before it was to be aborted. */
export async function abortInTime(contestant, { dueMs, ...options }) {
  for (let due = dueMs; due > dueMs / 20; due /= 2) {
    const result = await contestant.ask('abort', { ...options, dueMs: due })
    if (result.settledMs >= 0) return result
  }
  throw new Error('abort: the work was always done before it was to be aborted')
}

/** Prompts that share no beginning, so that none is remembered. */
export function promptOf(length, { vocabulary, seed }) {
  return Array.from({ length }, (_, i) => (i * 7919 + seed * 613 + 17) % vocabulary)
}

/** Multiply-adds a token in the linear layers, without the head. */
function layerSize(shape) {
  const { C, H, KH, D, F, L, ffnMatrices } = dimensions(shapes[shape].config)
  return L * (C * (H + 2 * KH) * D + H * D * C + ffnMatrices * C * F)
}

/** Floating-point operations of a prompt: the layers, useful attention (p + 1 keys at position p), one row of logits. */
function prefillWork(shape) {
  const { promptTokens, config } = shapes[shape]
  const { C, H, D, L, V } = dimensions(config)
  const attention = 2 * L * H * D * promptTokens * (promptTokens + 1)
  return 2 * (layerSize(shape) * promptTokens + C * V) + attention
}

/** Bytes that a token needs: the weights, and keys and values of the context so far, in f32. */
function decodeBytes(shape, { bytesPerWeight, decodeTokens }) {
  const { C, KH, D, L, V } = dimensions(shapes[shape].config)
  const cached = 2 * L * KH * D * 4 * (decodePrompt + decodeTokens / 2)
  return (layerSize(shape) + C * V) * bytesPerWeight + cached
}
