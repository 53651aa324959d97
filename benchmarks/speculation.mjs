// Decode speed with and without guessed tokens, in GPT-2 124M's shape with random weights, round by round in turn; ids are
// compared before times are. A text that repeats itself, for prompt lookup: greedy decoding of random weights does so after
// some tokens. A draft model: the first two layers of a model whose other layers add little, so that it is right often.
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { loadModel } from 'kvasir'
import { modelFor } from '../dist/models/registry.js'
import { parameters } from '../dist/nn/index.js'
import { writeRandomCheckpoint } from '../scripts/random-checkpoint.mjs'
import { cache, config, gpt2Checkpoint } from './gpt2-shape.mjs'
import { median, printTable, spread } from './statistics.mjs'

const tokens = 96
const rounds = 5
const draftLayers = 2
/** What the layers after those add, as a share of what random ones do. */
const share = 0.05

export async function benchSpeculation() {
  const { model, draft } = draftCheckpoints()
  const repeating = { prompt: Array.from({ length: 64 }, (_, i) => 1000 + (i % 16)), temperature: 0 }
  const drawn = { prompt: [1, 2, 3], temperature: 0.1, seed: 5 }
  const rows = [['', 'plain, tok/s', 'guessing, tok/s', 'gain', 'guessed', 'right']]
  for (const dtype of ['f32', 'q8']) {
    rows.push(
      await compare(
        `prompt lookup, a text that repeats itself, ${dtype}`,
        gpt2Checkpoint(),
        { dtype },
        repeating,
      ),
    )
    rows.push(
      await compare(
        `prompt lookup, a text that does not, ${dtype}`,
        gpt2Checkpoint(),
        { dtype },
        { ...drawn, temperature: 1 },
      ),
    )
    rows.push(await compare(`draft model of 2 layers of 12, ${dtype}`, model, { dtype, draft }, drawn))
    rows.push(
      await compare(
        `draft model that is never right, ${dtype}`,
        gpt2Checkpoint(),
        { dtype, draft },
        { ...drawn, temperature: 1 },
      ),
    )
  }
  printTable(rows)
}

async function compare(name, folder, options, { prompt, ...sampling }) {
  const model = await loadModel(folder, { ...options, device: 'cpu', maxSequences: 4 })
  const run = (speculate) =>
    model.complete(prompt, { ...sampling, maxTokens: tokens, ignoreEos: true, speculate })
  const speeds = { plain: [], guessing: [] }
  let drafted = 0
  let accepted = 0
  for (let round = 0; round < rounds; round++) {
    const plain = await run(false)
    const guessing = await run(true)
    if (plain.ids.join() !== guessing.ids.join())
      throw new Error(`speculation: ${name}: other tokens than without`)
    speeds.plain.push((tokens - 1) / (plain.usage.decodeMs / 1000))
    speeds.guessing.push((tokens - 1) / (guessing.usage.decodeMs / 1000))
    drafted += guessing.usage.draftedTokens
    accepted += guessing.usage.acceptedTokens
  }
  await model.dispose()
  const gain = median(speeds.plain.map((plain, round) => speeds.guessing[round] / plain))
  const right = drafted > 0 ? `${((100 * accepted) / drafted).toFixed(0)} %` : '-'
  return [name, spread(speeds.plain), spread(speeds.guessing), gain.toFixed(2), drafted / rounds, right]
}

/** A model and its draft, made once and kept. */
function draftCheckpoints() {
  const folders = { model: join(cache, 'gpt2-124m-tapered'), draft: join(cache, 'gpt2-124m-tapered-draft') }
  if (!existsSync(folders.draft)) {
    const unfinished = `${folders.draft}.unfinished`
    rmSync(unfinished, { recursive: true, force: true })
    writeRandom(folders.model, config)
    const values = rewrite(join(folders.model, 'model.safetensors'), scaleOf)
    const own = { ...config, n_layer: draftLayers }
    writeRandom(unfinished, own)
    rewrite(join(unfinished, 'model.safetensors'), undefined, values)
    renameSync(unfinished, folders.draft)
  }
  return folders
}

function scaleOf(name) {
  const layer = /^h\.(\d+)\..*c_proj\.(weight|bias)$/.exec(name)?.[1]
  return layer !== undefined && Number(layer) >= draftLayers ? share : 1
}

function writeRandom(folder, config) {
  mkdirSync(folder, { recursive: true })
  const model = modelFor(config)
  const { transposed } = model.checkpoint
  writeRandomCheckpoint({ folder, config, parameters: parameters(model), transposed })
}

/** Scales a file's tensors, or gives them others' values; returns the bytes of all by name. */
function rewrite(path, scale, values) {
  const file = readFileSync(path)
  const start = 8 + Number(file.readBigUInt64LE(0))
  const header = JSON.parse(file.subarray(8, start).toString())
  const bytes = {}
  const target = openSync(path, 'r+')
  try {
    for (const [name, { data_offsets: offsets }] of Object.entries(header)) {
      const own = new Uint8Array(file.subarray(start + offsets[0], start + offsets[1]))
      const factor = scale?.(name) ?? 1
      if (factor !== 1) scaleInPlace(new Float32Array(own.buffer), factor)
      bytes[name] = values?.[name] ?? own
      writeSync(target, bytes[name], 0, bytes[name].length, start + offsets[0])
    }
  } finally {
    closeSync(target)
  }
  return bytes
}

function scaleInPlace(values, factor) {
  for (let i = 0; i < values.length; i++) values[i] *= factor
}
