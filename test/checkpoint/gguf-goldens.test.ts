import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { loadModel } from 'kvasir'
import { describe, expect, it } from 'vitest'
import { addon } from '#kvasir/native/addon.js'
import { shared, sharedDir } from '../shared.js'

interface Golden {
  tensors: { name: string; shape: number[]; sha256: string }[]
  ids: number[]
  logits: number[][]
  greedy: number[]
}

/** The file, its golden, and the largest difference from its logits by default: llama.cpp's own for llama-256. */
const files: [file: string, golden: string, difference: number][] = [
  ['llama-256/llama-256-f32.gguf', 'llama-256/golden-f32.json', 1.7e-6],
  ['llama-256/llama-256-f16.gguf', 'llama-256/golden-f16.json', 3.01e-3],
  ['llama-256/llama-256-q8_0.gguf', 'llama-256/golden-q8_0.json', 8.03e-2],
  ['llama-256/llama-256-q4_0.gguf', 'llama-256/golden-q4_0.json', 7.84e-2],
  ['llama-256/llama-256-q4_k.gguf', 'llama-256/golden-q4_k.json', 0.141],
  ['llama-256/llama-256-q6_k.gguf', 'llama-256/golden-q6_k.json', 0.137],
  ['split/llama-256-f32-00001-of-00002.gguf', 'split/golden.json', 1.7e-6],
  ['stories260K/stories260K-f32.gguf', 'stories260K/golden-f32.json', 1e-4],
  ['stories260K/stories260K-q8_0.gguf', 'stories260K/golden-q8_0.json', 0.3],
  ['tiny-gpt2/tiny-gpt2-f32.gguf', 'tiny-gpt2/golden.json', 1e-5],
]

// Files that llama.cpp's own quantiser made, with float64 logits and a hash of every dequantised tensor.
describe.skipIf(!sharedDir).each(files)('GGUF %s', (name, goldenName, difference) => {
  const path = sharedDir ? shared('gguf', name) : ''
  const golden: Golden = sharedDir ? JSON.parse(readFileSync(shared('gguf', goldenName), 'utf8')) : null

  it('is dequantised bit for bit', () => {
    using backend = disposable(new (addon().Backend)({ threads: 2 }))
    const paths = name.startsWith('split') ? [path, path.replace('00001', '00002')] : [path]
    const files = paths.map((one) => new (addon().CheckpointFile)(one))
    const entries = files.flatMap((file) => file.tensors().map(({ name }) => ({ file, name })))
    expect(entries.map((entry) => entry.name).sort()).toEqual(golden.tensors.map((one) => one.name).sort())
    for (const { name: tensor, shape, sha256 } of golden.tensors) {
      using store = disposable(new (addon().WeightStore)(backend))
      const [rows, cols] = [shape[0]!, shape[1] ?? 1]
      store.declare({ name: tensor, dtype: 'f32', layout: 'rows', rows, cols })
      const { file } = entries.find((entry) => entry.name === tensor)!
      expect(store.load(tensor, { file, tensor, rowOffset: 0, transposed: false }, backend, null)).toBe(true)
      const bytes = new Uint8Array(store.copyOut(tensor).buffer)
      expect(createHash('sha256').update(bytes).digest('hex'), tensor).toBe(sha256)
    }
    for (const file of files) file.dispose()
  })

  it('gives its logits: in f32 exactly, by default as closely as llama.cpp', async () => {
    const truth = golden.logits.flat()
    for (const [dtype, allowed] of [
      ['f32', 1e-4],
      ['auto', Math.max(difference, 1e-4)],
    ] as const) {
      await using model = await loadModel(path, { dtype, device: 'cpu' })
      const { data } = await model.logits(golden.ids)
      expect(data.length).toBe(truth.length)
      expect(Math.max(...truth.map((x, i) => Math.abs(x - data[i]!))), dtype).toBeLessThanOrEqual(allowed)
      if (dtype !== 'f32') continue
      const { ids } = await model.complete(golden.ids, { maxTokens: golden.greedy.length, ignoreEos: true })
      expect(ids).toEqual(golden.greedy)
    }
  })
})

function disposable<T extends { dispose(): void }>(object: T): T & Disposable {
  return Object.assign(object, { [Symbol.dispose]: () => object.dispose() })
}

describe.skipIf(!sharedDir)("stories260K's vocabulary in GGUF", () => {
  it('makes the ids and texts that its tokenizer.json makes', async () => {
    await using model = await loadModel(shared('models', 'stories260K'), { device: 'cpu' })
    await using file = await loadModel(shared('gguf', 'stories260K', 'stories260K-q8_0.gguf'), {
      device: 'cpu',
    })
    const story = readFileSync(shared('models', 'stories260K', 'golden.json'), 'utf8').slice(0, 2000)
    for (const text of ['Once upon a time', '', ' ', '  two  spaces ', 'naïve café 日本 🙂\n\n<s>', story]) {
      const ids = await model.tokenize(text)
      expect(await file.tokenize(text)).toEqual(ids)
      expect(await file.detokenize(ids)).toBe(await model.detokenize(ids))
    }
  })
})
