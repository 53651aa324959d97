import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { loadModel } from 'kvasir'
import { describe, expect, it } from 'vitest'
import { temporaryFolder } from '../checkpoint/folders.js'
import { formats } from '../checkpoint/gguf-formulas.js'
import { Random } from '../graph/random.js'
import { rootDir } from '../shared.js'

// The files that `npm run bench peers` writes hold the same model, whoever reads them.

const peers = join(rootDir, 'benchmarks/peers')
const load = (file: string) => import(pathToFileURL(join(peers, file)).href)
const { Checkpoint, writeCheckpoint } = await load('models/checkpoint.mjs')
const { writeGgufModel } = await load('models/gguf-models.mjs')
const { writeOnnxModel } = await load('models/onnx-models.mjs')
const { encodeNBits, ggufTypes, halfBits, halfValue } = await load('models/number-formats.mjs')

const configs = {
  gpt2: { model_type: 'gpt2', vocab_size: 320, n_positions: 32, n_embd: 64, n_layer: 2, n_head: 4 },
  llama: {
    model_type: 'llama',
    vocab_size: 320,
    hidden_size: 64,
    intermediate_size: 96,
    num_hidden_layers: 2,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    head_dim: 16,
    max_position_embeddings: 32,
    rms_norm_eps: 1e-5,
    rope_theta: 10000,
    tie_word_embeddings: true,
  },
}
const ids = [3, 14, 159, 26, 5]
const folder = temporaryFolder()

async function logits(path: string): Promise<Float32Array> {
  const model = await loadModel(path, { device: 'cpu', dtype: 'f32' })
  const { data } = await model.logits(ids)
  await model.dispose()
  return data
}

/** Root mean square of the difference, relative to that of what is expected. */
function relativeError(found: Float32Array, expected: Float32Array): number {
  const square = (values: Float32Array) => values.reduce((sum, x) => sum + x * x, 0)
  return Math.sqrt(square(found.map((x, i) => x - expected[i]!)) / square(expected))
}

describe('models written for the benchmark of peers', () => {
  describe.each(Object.entries(configs))('%s', (name, config) => {
    const safetensors = join(folder, name)
    writeCheckpoint(safetensors, config)
    const checkpoint = new Checkpoint(safetensors)

    it.each([
      ['f32', 1e-6],
      ['f16', 1e-3],
      ['q8_0', 0.02],
      ['q4_0', 0.3],
    ] as const)('GGUF %s', async (type, tolerance) => {
      const path = join(folder, `${name}-${type}.gguf`)
      writeGgufModel(path, checkpoint, type)
      expect(relativeError(await logits(path), await logits(safetensors))).toBeLessThan(tolerance)
    })

    // Where the peers were installed by `npm run bench peers`.
    const isInstalled = existsSync(join(peers, 'node_modules/onnxruntime-node'))
    it.skipIf(!isInstalled).each([
      ['fp32', 1e-5],
      ['q4', 0.3],
    ] as const)('ONNX %s, run by onnxruntime', async (type, tolerance) => {
      const path = join(folder, `${name}-${type}.onnx`)
      writeOnnxModel(path, checkpoint, type)
      const last = (await logits(safetensors)).slice(-config.vocab_size)
      expect(relativeError(await runOnnx(path, name), last)).toBeLessThan(tolerance)
    })
  })

  it('numbers of 16, 8 and 4 bits are nearest to what was to be stored', () => {
    const random = new Random(1)
    const values = Float32Array.from({ length: 320 }, () => random.next() - 0.5)
    for (const value of [...values, 0, 1e-6, 65504]) {
      const found = halfValue(halfBits(value))
      expect(Math.abs(found - value)).toBeLessThanOrEqual(Math.max(2 ** -11 * Math.abs(value), 2 ** -25))
    }
    // Of numbers up to 0.5: half a step, but of 4 bits a whole one at the end of the range that is shorter by it.
    const limits = { q8_0: 0.5 / 127 / 2, q4_0: 0.5 / 8 }
    const ofScale = 2 ** -11 // the scale itself is in f16
    for (const [type, limit] of Object.entries(limits)) {
      const { value, bytes } = formats[type.toUpperCase()]!
      const blocks: Uint8Array = ggufTypes[type].encode(values)
      expect(blocks.length).toBe(10 * bytes)
      values.forEach((expected, i) => {
        const block = blocks.subarray(Math.floor(i / 32) * bytes)
        expect(Math.abs(value(block, i % 32) - expected)).toBeLessThan(limit + ofScale)
      })
    }
    const { numbers, scales } = encodeNBits(values)
    values.forEach((expected, i) => {
      const four = (numbers[i >> 1] >> (4 * (i % 2))) & 15
      expect(Math.abs((four - 8) * scales[i >> 5] - expected)).toBeLessThan(limits.q4_0 + ofScale)
    })
  })
})

/** Logits of the last token: the first tokens in one step, the last one in another, by the cache. */
async function runOnnx(path: string, family: string): Promise<Float32Array> {
  const { InferenceSession, Tensor } = createRequire(join(peers, 'package.json'))('onnxruntime-node')
  const session = await InferenceSession.create(path)
  const integers = (values: number[]) =>
    new Tensor('int64', BigInt64Array.from(values, BigInt), [1, values.length])
  const kvHeads = family === 'gpt2' ? 4 : 2
  const cacheNames: string[] = session.inputNames.filter((name: string) => name.startsWith('past'))
  let cache = cacheNames.map((name) => [
    name,
    new Tensor('float32', new Float32Array(0), [1, kvHeads, 0, 16]),
  ])
  let found: Float32Array
  let seen = 0
  for (const tokens of [ids.slice(0, -1), ids.slice(-1)]) {
    seen += tokens.length
    const mask = integers(new Array(seen).fill(1))
    const feeds = { input_ids: integers(tokens), attention_mask: mask, ...Object.fromEntries(cache) }
    const outputs = await session.run(feeds)
    cache = cacheNames.map((name) => [name, outputs[name.replace('past_key_values', 'present')]])
    found = outputs.logits.data
  }
  await session.release()
  return found!
}
