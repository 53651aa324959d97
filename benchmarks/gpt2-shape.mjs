// A random-weight checkpoint in GPT-2 124M's shape, made once and kept in .cache.
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { modelFor } from '../dist/models/registry.js'
import { parameters, record } from '../dist/nn/index.js'
import { writeRandomCheckpoint } from '../scripts/random-checkpoint.mjs'

export const cache = join(resolve(dirname(fileURLToPath(import.meta.url)), '..'), '.cache')

export const config = {
  model_type: 'gpt2',
  vocab_size: 50257,
  n_positions: 1024,
  n_embd: 768,
  n_layer: 12,
  n_head: 12,
}

/** The checkpoint's folder. */
export function gpt2Checkpoint() {
  const folder = join(cache, 'gpt2-124m-f32')
  if (existsSync(join(folder, 'model.safetensors'))) return folder
  const unfinished = `${folder}.unfinished`
  rmSync(unfinished, { recursive: true, force: true })
  mkdirSync(cache, { recursive: true })
  const model = modelFor(config)
  writeRandomCheckpoint({
    folder: unfinished,
    config,
    parameters: parameters(model),
    transposed: model.checkpoint.transposed,
  })
  renameSync(unfinished, folder)
  return folder
}

export function gpt2Graph() {
  return record(modelFor(config))
}

/** The checkpoint's parameters as f32, (out, in), for the interpreter. */
export function readParameters(folder) {
  const model = modelFor(config)
  const file = readFileSync(join(folder, 'model.safetensors'))
  const headerBytes = Number(file.readBigUInt64LE(0))
  const header = JSON.parse(file.subarray(8, 8 + headerBytes).toString())
  const transposed = model.checkpoint.transposed.map((pattern) => new RegExp(pattern))
  const shapes = new Map(parameters(model).map(({ path, shape }) => [path, shape]))
  return (path) => {
    const [begin, end] = header[path].data_offsets
    const values = new Float32Array(
      file.buffer.slice(file.byteOffset + 8 + headerBytes + begin, file.byteOffset + 8 + headerBytes + end),
    )
    return transposed.some((pattern) => pattern.test(path)) ? transpose(values, shapes.get(path)) : values
  }
}

function transpose(values, [rows, cols]) {
  const result = new Float32Array(values.length)
  for (let row = 0; row < rows; row++)
    for (let col = 0; col < cols; col++) result[row * cols + col] = values[col * rows + row]
  return result
}

/** Multiply-adds of linear layers a token, without the head; and with it. */
export function linearSize() {
  const { n_embd: C, n_layer: L, vocab_size: V } = config
  const layers = L * 12 * C * C
  return { layers, head: V * C }
}
