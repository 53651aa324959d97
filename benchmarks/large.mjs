// Llama 3.2 1B's shape in q8 and q4, random weights: from loading to the first token, memory, long contexts, and several
// sequences in a step. `npm run bench large`; it writes 8 GB into .cache and takes a quarter of an hour.
//
//   node benchmarks/large.mjs load FOLDER     one load in a process of its own; a line of JSON
import { execFileSync, spawnSync } from 'node:child_process'
import { closeSync, existsSync, mkdirSync, openSync, readdirSync, readSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { convertModel, loadModel } from 'kvasir'
import { Checkpoint } from '../dist/checkpoint/checkpoint.js'
import { declareWeights, loadWeights } from '../dist/checkpoint/load-weights.js'
import { matchParameters } from '../dist/checkpoint/match.js'
import { attentionLayers } from '../dist/engine/attention-layers.js'
import { toNativeProgram } from '../dist/graph/native-program.js'
import { optimize, withSampling } from '../dist/graph/passes/index.js'
import { modelFor } from '../dist/models/registry.js'
import { addon } from '../dist/native/addon.js'
import { parameters, record } from '../dist/nn/index.js'
import { writeCheckpoint } from './peers/models/checkpoint.mjs'
import { shapes } from './peers/models/shapes.mjs'
import { median, printTable } from './statistics.mjs'

const cacheFolder = fileURLToPath(new URL('../.cache', import.meta.url))
const config = { ...shapes.llama.config, max_position_embeddings: 16_384 }
const longContext = 8192
const shortContext = 128
const decodeTokens = 64
const loads = 5
const rounds = 5

/** A prompt of any tokens. */
const prompt = (count) => Array.from({ length: count }, (_, i) => (i * 7919 + 11) % config.vocab_size)

if (process.argv[1] === fileURLToPath(import.meta.url) && process.argv[2] === 'load')
  console.log(JSON.stringify(await loadOnce(process.argv[3])))

export async function benchLarge() {
  const source = join(cacheFolder, 'llama-1b')
  if (!existsSync(join(source, 'model.safetensors'))) {
    mkdirSync(source, { recursive: true })
    writeCheckpoint(source, config)
  }
  console.log(
    `Llama 3.2 1B shape, random weights; ${addon().cpuInfo().name}, ${addon().cpuInfo().processors} threads`,
  )
  for (const dtype of ['q8', 'q4']) {
    const folder = join(cacheFolder, `llama-1b-${dtype}`)
    if (!existsSync(folder)) await convertModel(source, folder, { dtype })
    benchLoading(folder, dtype)
    await benchContexts(folder, dtype)
    await benchSequences(folder, dtype)
  }
}

/** Out of the page cache, as after a restart. */
function forget(folder) {
  for (const file of weightFiles(folder))
    spawnSync('dd', [`of=${file}`, 'oflag=nocache', 'conv=notrunc,fdatasync', 'count=0'])
}

const weightFiles = (folder) =>
  readdirSync(folder)
    .filter((name) => name.endsWith('.safetensors'))
    .map((name) => join(folder, name))

function benchLoading(folder, dtype) {
  const bytes = weightFiles(folder).reduce((sum, file) => sum + statSync(file).size, 0)
  const figures = { read: [], load: [], first: [], cachedRead: [], cachedFirst: [] }
  let peak = 0
  let planned
  const once = () => {
    const script = fileURLToPath(import.meta.url)
    return JSON.parse(execFileSync(process.execPath, [script, 'load', folder]).toString())
  }
  for (let i = 0; i < loads; i++) {
    forget(folder)
    figures.read.push(readAll(folder))
    figures.cachedRead.push(readAll(folder))
    figures.cachedFirst.push(once().firstTokenMs)
    forget(folder)
    const { loadMs, firstTokenMs, peakBytes, info } = once()
    figures.load.push(loadMs)
    figures.first.push(firstTokenMs)
    peak = Math.max(peak, peakBytes)
    planned = info
  }
  const ms = (name) => median(figures[name])
  const limit = 1.15 * planned.weightBytes + planned.cacheBytes + 64 * 2 ** 20
  const mib = (size) => `${(size / 2 ** 20).toFixed(0)} MiB`
  console.log(
    `\n${dtype}: ${(bytes / 1e9).toFixed(2)} GB; from the disk: read ${ms('read').toFixed(0)} ms, ` +
      `loaded after ${ms('load').toFixed(0)}, first token after ${ms('first').toFixed(0)} ` +
      `(${(ms('first') / ms('read')).toFixed(2)} x reading); from the page cache: read ${ms('cachedRead').toFixed(0)}, ` +
      `first token after ${ms('cachedFirst').toFixed(0)}`,
  )
  console.log(
    `${dtype}: ${mib(peak)} of memory at the peak; weights x 1.15 + cache + 64 MiB are ${mib(limit)} ` +
      `(weights ${mib(planned.weightBytes)}, cache ${mib(planned.cacheBytes)})`,
  )
}

/** Reads files as they lie, megabytes at a time; milliseconds. */
function readAll(folder) {
  const buffer = Buffer.alloc(4 << 20)
  const started = performance.now()
  for (const path of weightFiles(folder)) {
    const file = openSync(path, 'r')
    while (readSync(file, buffer) > 0);
    closeSync(file)
  }
  return performance.now() - started
}

async function loadOnce(folder) {
  const started = performance.now()
  const model = await loadModel(folder, { device: 'cpu', contextLength: 1024 })
  const loadMs = performance.now() - started
  await model.complete(prompt(1), { maxTokens: 1, ignoreEos: true })
  const firstTokenMs = performance.now() - started
  const { info } = model
  const peakBytes = process.resourceUsage().maxRSS * 1024
  await model.dispose()
  return { loadMs, firstTokenMs, peakBytes, info }
}

async function benchContexts(folder, dtype) {
  const contextLength = longContext + 2 * decodeTokens
  const model = await loadModel(folder, { device: 'cpu', contextLength })
  const settings = { maxTokens: decodeTokens + 1, ignoreEos: true }
  const speeds = { [shortContext]: [], [longContext]: [] }
  let prefill
  for (let round = 0; round < rounds; round++) {
    for (const context of [shortContext, longContext]) {
      // Keys and values of the prompt are computed anew: two rounds of the long one are enough.
      if (context === longContext && round >= 2) continue
      const { usage } = await model.complete(prompt(context), settings)
      speeds[context].push((1000 * decodeTokens) / usage.decodeMs)
      if (context === longContext) prefill = (1000 * context) / usage.prefillMs
    }
  }
  await model.dispose()
  const [short, long] = [shortContext, longContext].map((context) => median(speeds[context]))
  console.log(
    `${dtype}: decode ${short.toFixed(1)} tokens/s after ${shortContext} tokens, ${long.toFixed(1)} after ` +
      `${longContext} (${((100 * long) / short).toFixed(0)} %); prefill of ${longContext}: ${prefill.toFixed(0)}`,
  )
}

async function benchSequences(folder, dtype) {
  const counts = [1, 8, 16]
  const steps = await Steps.open(folder, Math.max(...counts))
  const milliseconds = new Map(counts.map((count) => [count, []]))
  const alone = steps.generate(1).ids
  for (const count of counts) {
    const { ids } = steps.generate(count)
    if (ids.some((id, i) => id !== alone[i]))
      throw new Error(`bench: ${dtype}: a sequence has other tokens beside ${count - 1} others`)
  }
  for (let round = 0; round < rounds; round++)
    for (const count of counts) milliseconds.get(count).push(steps.generate(count).stepMs)
  steps.dispose()
  const one = median(milliseconds.get(1))
  const rows = [['sequences', 'ms a step', 'tokens/s', 'times one']]
  for (const count of counts) {
    const ms = median(milliseconds.get(count))
    rows.push([count, ms.toFixed(1), ((1000 * count) / ms).toFixed(1), ((count * one) / ms).toFixed(2)])
  }
  console.log(`${dtype}: sequences in one step`)
  printTable(rows)
}

/** Steps of several sequences, each a token long, from an empty cache on. */
class Steps {
  #blocks = Math.ceil((decodeTokens + 1) / 32)

  static async open(folder, sequences) {
    const steps = new Steps()
    const model = modelFor(config)
    const graph = record(model)
    const checkpoint = await Checkpoint.open(folder)
    const tensors = matchParameters(checkpoint, parameters(model), model.checkpoint)
    const storedTypes = (parameter) => tensors.get(parameter)?.dtype ?? 'f32'
    const program = optimize(withSampling(graph), { dtype: 'auto', storedTypes })
    steps.backend = new (addon().Backend)({ device: 'cpu', threads: addon().cpuInfo().processors })
    steps.store = declareWeights(program, steps.backend)
    loadWeights(steps.store, program, tensors, { backend: steps.backend, abort: null })
    checkpoint.close()
    const numBlocks = sequences * steps.#blocks
    const layers = attentionLayers(graph)
    steps.cache = new (addon().KvCache)(steps.backend, { layers, numBlocks, dtype: 'f16' })
    const limits = {
      maxTokens: sequences,
      maxRows: sequences,
      maxSequences: sequences,
      maxBlocks: steps.#blocks,
    }
    const { backend, store, cache } = steps
    steps.program = new (addon().Program)(backend, store, cache, toNativeProgram(program), limits)
    return steps
  }

  /** Greedy tokens of the first sequence, and the median time of a step. */
  generate(count) {
    const each = (value) => Int32Array.from({ length: count }, (_, s) => value(s))
    const sampled = { ids: new Int32Array(count), logprobs: new Float32Array(count) }
    const inputs = {
      queryStarts: Int32Array.from({ length: count + 1 }, (_, s) => s),
      blockTables: Int32Array.from({ length: count * this.#blocks }, (_, i) => i),
      outputRows: each((s) => s),
      temperature: new Float32Array(count),
      topK: new Int32Array(count),
      topP: new Float32Array(count).fill(1),
      minP: new Float32Array(count),
      seed: new Int32Array(2 * count),
      counter: new Int32Array(count),
    }
    const ids = []
    const times = []
    let tokens = each((s) => 11 + 37 * s)
    for (let position = 0; position < decodeTokens; position++) {
      const started = performance.now()
      Object.assign(inputs, {
        tokens,
        positions: each(() => position),
        contextLengths: each(() => position + 1),
      })
      this.program.run(inputs, sampled, null)
      times.push(performance.now() - started)
      tokens = Int32Array.from(sampled.ids)
      ids.push(tokens[0])
    }
    return { ids, stepMs: median(times) }
  }

  dispose() {
    for (const part of [this.program, this.cache, this.store, this.backend]) part.dispose()
  }
}
