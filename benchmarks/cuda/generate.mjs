// Generation through the package on a GPU, as a program that uses it sees it: beside the same generation without
// JavaScript (benchmarks/cuda/bench), its lines tell what the host costs.
//
//   node benchmarks/cuda/generate.mjs MODULE [--shape gpt2-124m|llama-3.2-1b]... [--device N] [--tiny]
//
// Prints a line of JSON for each shape, in the form of bench's. Verified against the CPU before it is timed. --tiny takes
// a model with which an emulator shows that all of this runs.
import { existsSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { loadModel } from 'kvasir'
import { watchEventLoop } from '../event-loop-delay.mjs'
import { writeCheckpoint } from '../peers/models/checkpoint.mjs'
import { cacheFolder, shapes } from '../peers/models/shapes.mjs'
import { median } from '../statistics.mjs'

/** Of logits against the CPU's, which computes between layers in f32: root mean square, relative. */
const tolerance = 0.05

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    shape: { type: 'string', multiple: true, default: ['gpt2-124m', 'llama-3.2-1b'] },
    device: { type: 'string', default: '0' },
    tiny: { type: 'boolean', default: false },
  },
})
if (positionals.length !== 1) throw new Error('generate: MODULE is needed')
process.env.KVASIR_CUDA_MODULE = positionals[0]

const [promptTokens, decodeTokens, rounds] = values.tiny ? [8, 4, 1] : [32, 128, 15]
if (values.tiny) {
  await measure('tiny', fileURLToPath(new URL('../../test/fixtures/llama', import.meta.url)))
} else {
  for (const name of values.shape) await measure(name, checkpoint(name))
}

function checkpoint(name) {
  const { config } = name === 'gpt2-124m' ? shapes.gpt2 : shapes.llama
  const folder = join(cacheFolder, 'cuda', name)
  if (!existsSync(join(folder, 'model.safetensors'))) {
    rmSync(folder, { recursive: true, force: true })
    writeCheckpoint(folder, config)
  }
  return folder
}

async function measure(name, folder) {
  const prompt = Array.from({ length: promptTokens }, (_, i) => (i * 37 + 11) % 61)
  const started = performance.now()
  const { result: model, delay: loading } = await watchEventLoop(() =>
    loadModel(folder, { device: 'cuda', deviceIndex: Number(values.device), dtype: 'bf16' }),
  )
  const loadMs = performance.now() - started
  const error = await relativeError(model, folder, prompt.slice(0, 4))
  if (!(error <= tolerance)) throw new Error(`generate: ${name}: logits are off by ${error} of the CPU's`)

  const settings = { maxTokens: decodeTokens + 1, ignoreEos: true }
  const microseconds = { us: [], us_again: [] }
  const { delay } = await watchEventLoop(async () => {
    for (let round = values.tiny ? 0 : -2; round < rounds; round++) {
      for (const series of Object.values(microseconds)) {
        const { usage } = await model.complete(prompt, settings)
        if (round >= 0) series.push((1000 * usage.decodeMs) / decodeTokens)
      }
    }
  })
  console.log(
    JSON.stringify({
      kind: 'kernel',
      group: 'generation from JavaScript',
      name: `${name}, bf16, 1 sequence, ${promptTokens} + ${decodeTokens} tokens`,
      us: median(microseconds.us),
      us_again: median(microseconds.us_again),
      bytes: 0,
      operations: 0,
      error,
      error_allowed: tolerance,
      verified: 'logits beside the CPU',
      load_ms: loadMs,
      event_loop_loading: loading,
      event_loop: delay,
    }),
  )
  await model.dispose()
}

async function relativeError(model, folder, ids) {
  const { data: found } = await model.logits(ids)
  const cpu = await loadModel(folder, { device: 'cpu', dtype: 'f32' })
  const { data: expected } = await cpu.logits(ids)
  await cpu.dispose()
  const squares = (difference) => expected.reduce((sum, x, i) => sum + difference(x, i) ** 2, 0)
  return Math.sqrt(squares((x, i) => x - found[i]) / squares((x) => x))
}
