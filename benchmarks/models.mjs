// Whole-model speed in GPT-2 124M's shape: verified against the interpreter, then timed beside probes of what the
// machine can do at that moment, round by round.
import { loadModel } from 'kvasir'
import { Interpreter } from '../dist/graph/interpreter.js'
import { addon } from '../dist/native/addon.js'
import { config, gpt2Checkpoint, gpt2Graph, linearSize, readParameters } from './gpt2-shape.mjs'
import { productRate } from './product-rate.mjs'
import { median, printTable, spread } from './statistics.mjs'

const rounds = 7
const promptTokens = 512
const decodePrompt = 8
const decodeTokens = 64
// Logits against float64, root mean square, relative to their spread.
const tolerance = { f32: 2e-5, f16: 2e-3, bf16: 2e-2, q8: 3e-2, q4: 0.2 }

const prompt = Array.from({ length: promptTokens }, (_, i) => (i * 7919 + 11) % config.vocab_size)

/** @param {{ dtypes?: string[], threads?: number }} options */
export async function benchModels({
  dtypes = ['f32', 'bf16', 'q8', 'q4'],
  threads = addon().cpuInfo().processors,
} = {}) {
  const folder = gpt2Checkpoint()
  const isa = process.env.KVASIR_ISA || undefined
  const probe = new (addon().Backend)({ threads, isa })
  console.log(`GPT-2 124M shape, random weights; ${addon().cpuInfo().name}, ${threads} threads, ${probe.isa}`)
  const models = new Map()
  for (const dtype of dtypes) {
    const model = await loadModel(folder, { dtype, threads })
    await verify(model, folder, dtype)
    models.set(dtype, { model, decode: [], prefill: [], decodeShare: [], prefillShare: [] })
  }
  for (let round = 0; round < rounds; round++) {
    for (const [dtype, figures] of models) await measure(figures, dtype, probe)
  }
  const rows = [['weights', 'decode tok/s', 'of read bandwidth', 'prefill tok/s', 'of arithmetic rate']]
  for (const [dtype, { decode, prefill, decodeShare, prefillShare, model }] of models) {
    rows.push([dtype, spread(decode), percent(decodeShare), spread(prefill, 0), percent(prefillShare)])
    await model.dispose()
  }
  printTable(rows)
  probe.dispose()
}

const percent = (shares) => `${(100 * median(shares)).toFixed(0)} %`

let truth

/** Throws when the logits of a few tokens are not what the interpreter computes. */
async function verify(model, folder, dtype) {
  const ids = prompt.slice(0, 3)
  truth ??= interpret(folder, ids)
  const { data } = await model.logits(ids)
  const mean = truth.reduce((sum, x) => sum + x, 0) / truth.length
  const variance = truth.reduce((sum, x) => sum + (x - mean) ** 2, 0)
  const error = truth.reduce((sum, x, i) => sum + (x - data[i]) ** 2, 0)
  const relative = Math.sqrt(error / variance)
  if (!(relative <= tolerance[dtype]))
    throw new Error(`${dtype}: logits are off by ${relative} of their spread`)
  console.log(`${dtype}: logits verified, off by ${relative.toExponential(1)} of their spread`)
}

function interpret(folder, ids) {
  const weights = readParameters(folder)
  const { logits } = new Interpreter(gpt2Graph(), { weights }).run({
    tokens: Int32Array.from(ids),
    positions: Int32Array.from(ids, (_, i) => i),
    queryStarts: Int32Array.of(0, ids.length),
    contextLengths: Int32Array.of(ids.length),
    blockTables: Int32Array.of(0),
    outputRows: Int32Array.from(ids, (_, i) => i),
  })
  return logits
}

async function measure(figures, dtype, probe) {
  const { layers, head } = linearSize()
  const { n_layer: L, n_embd: C } = config
  const { model } = figures

  const bandwidth = probe.probeRead(2 ** 29)
  const short = { maxTokens: decodeTokens + 1, ignoreEos: true }
  const decode =
    decodeTokens / ((await model.complete(prompt.slice(0, decodePrompt), short)).usage.decodeMs / 1000)
  // Weights, and the keys and values of the context so far.
  const cached = 2 * L * C * 4 * (decodePrompt + decodeTokens / 2)
  const bytes = model.info.weightBytes + cached
  figures.decode.push(decode)
  figures.decodeShare.push((bytes * decode) / bandwidth)

  // Attention's products are of f32, whatever the weights are.
  const f32Rate = probe.probeArithmetic('f32')
  const linearRate = productRate(probe, dtype)
  const prefill = promptTokens / ((await model.complete(prompt, { maxTokens: 1 })).usage.prefillMs / 1000)
  // Attention's useful work: a query of position p meets p + 1 keys, in scores and in values.
  const attention = 2 * L * C * promptTokens * (promptTokens + 1)
  const least = (2 * (layers * promptTokens + head)) / linearRate + attention / f32Rate
  figures.prefill.push(prefill)
  figures.prefillShare.push((least / promptTokens) * prefill)
}
