import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type LanguageModel, loadModel } from 'kvasir'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Interpreter } from '#kvasir/graph/interpreter.js'
import { withHidden } from '#kvasir/graph/passes/index.js'
import { modelFor } from '#kvasir/models/registry.js'
import { record } from '#kvasir/nn/index.js'
import { readWeights } from '../models/checkpoint-weights.js'
import { rootDir } from '../shared.js'
import { fixture, shakespeare } from './models.js'

const range = (length: number, first: number, vocabSize: number) =>
  Array.from({ length }, (_, i) => (first + i * 5) % vocabSize)

/** What the head reads after each token, in float64. */
async function hiddenOf(folder: string): Promise<(ids: number[]) => Float64Array[]> {
  const model = modelFor(JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8')))
  const interpreter = new Interpreter(withHidden(record(model)), {
    weights: await readWeights(folder, model),
  })
  return (ids) => {
    interpreter.reset()
    const indices = Int32Array.from(ids, (_, i) => i)
    const { hidden } = interpreter.run({
      tokens: Int32Array.from(ids),
      positions: indices,
      queryStarts: Int32Array.of(0, ids.length),
      contextLengths: Int32Array.of(ids.length),
      blockTables: Int32Array.from({ length: Math.ceil(ids.length / 32) }, (_, block) => block),
      outputRows: indices,
    })
    const width = hidden!.length / ids.length
    return ids.map((_, t) => hidden!.subarray(t * width, (t + 1) * width))
  }
}

function mean(rows: Float64Array[]): Float64Array {
  return rows[0]!.map((_, j) => rows.reduce((sum, row) => sum + row[j]!, 0) / rows.length)
}

function normalized(vector: Float64Array): Float64Array {
  const length = Math.hypot(...vector)
  return vector.map((x) => x / length)
}

/** The largest difference, relative to the largest number. */
function difference(found: Float32Array, expected: Float64Array): number {
  const most = Math.max(...expected.map(Math.abs))
  return Math.max(...expected.map((x, j) => Math.abs(x - found[j]!))) / most
}

describe.each([
  ['llama', fixture],
  ['gpt2', join(rootDir, 'test', 'fixtures', 'gpt2')],
  ['tiny-shakespeare', shakespeare],
])('embeddings of %s', (_, folder) => {
  let model: LanguageModel
  let texts: number[][]
  beforeAll(async () => {
    model = await loadModel(folder, { dtype: 'f32', stepTokens: 32 })
    const { contextLength, vocabSize } = model
    texts = [1, 2, 31, 33, contextLength].map((length) => range(length, length * 7, vocabSize))
  })
  afterAll(() => model.dispose())

  it('are the mean of what the head reads, or the last of it, normalized or not', async () => {
    const hidden = await hiddenOf(folder)
    for (const pooling of ['mean', 'last'] as const)
      for (const normalize of [true, false]) {
        const { data, shape, promptTokens } = await model.embed(texts, { pooling, normalize })
        const [count, width] = shape
        expect(count).toBe(texts.length)
        expect(promptTokens).toBe(texts.reduce((sum, ids) => sum + ids.length, 0))
        for (const [i, ids] of texts.entries()) {
          const rows = hidden(ids)
          const vector = pooling === 'mean' ? mean(rows) : rows.at(-1)!
          const found = data.subarray(i * width, (i + 1) * width)
          expect(difference(found, normalize ? normalized(vector) : vector)).toBeLessThan(2e-5)
        }
      }
  })

  it('are the same bits alone and among others, whatever the steps, the threads and the room', async () => {
    const alone: Float32Array[] = []
    for (const ids of texts) alone.push((await model.embed([ids])).data)
    const { cache } = await model.stats()
    const least = (cache.bytes / cache.blocks) * Math.ceil(model.contextLength / 32)
    for (const options of [{ stepTokens: 512 }, { stepTokens: 48, threads: 1 }, { cacheBytes: least }]) {
      await using other = await loadModel(folder, { dtype: 'f32', ...options })
      const noise = Array.from({ length: 10 }, (_, i) =>
        other.complete(range(20, i, model.vocabSize), { maxTokens: 10, priority: (i % 3) - 1 }),
      )
      for (const order of [texts, [...texts].reverse(), [...texts, ...texts]]) {
        const { data, shape } = await other.embed(order)
        for (const [i, ids] of order.entries())
          expect(data.subarray(i * shape[1], (i + 1) * shape[1])).toEqual(alone[texts.indexOf(ids)])
      }
      await Promise.all(noise)
      expect(await other.stats()).toMatchObject({ running: 0, waiting: 0, cache: { usedBlocks: 0 } })
    }
  })
})

describe('embeddings', () => {
  it('are of one text, of text, and of very many', async () => {
    await using model = await loadModel(shakespeare)
    const one = await model.embed('a king')
    expect(one.shape[0]).toBe(1)
    expect(one).toEqual(await model.embed(['a king']))
    expect(one).toEqual(await model.embed([await model.tokenize('a king')]))
    const many = await model.embed(Array.from({ length: 3000 }, (_, i) => [i % 100, 5]))
    expect(many.shape[0]).toBe(3000)
    const [, width] = many.shape
    for (const i of [100, 1500, 2999])
      expect(many.data.subarray(i * width, (i + 1) * width)).toEqual(
        many.data.subarray((i % 100) * width, ((i % 100) + 1) * width),
      )
    expect(await model.stats()).toMatchObject({ running: 0, waiting: 0, cache: { usedBlocks: 0 } })
  })

  it('need no more room than one text at a time', async () => {
    await using plain = await loadModel(fixture)
    const { cache } = await plain.stats()
    await using model = await loadModel(fixture, { cacheBytes: (cache.bytes / cache.blocks) * 2 })
    const texts = Array.from({ length: 40 }, (_, i) => range(33 + (i % 31), i, 71))
    for (const pooling of ['mean', 'last'] as const) {
      const options = { pooling, normalize: false }
      expect(await model.embed(texts, options)).toEqual(await plain.embed(texts, options))
    }
  })
})
