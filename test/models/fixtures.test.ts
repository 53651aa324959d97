import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type LanguageModel, loadModel } from 'kvasir'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { deviceOptions } from '../devices.js'
import { rootDir } from '../shared.js'

// Small random checkpoints and their float64 logits, of the interpreter (`node scripts/make-fixtures.mjs` makes them) or of
// an independent implementation (`scripts/make-families.py`).
const folder = join(rootDir, 'test', 'fixtures')

interface Golden {
  ids: number[]
  logits: number[]
  /** What follows the first half of the ids. */
  greedy?: number[]
  contextLength?: number
}

describe.each(readdirSync(folder))('fixture %s', (name) => {
  const golden = JSON.parse(readFileSync(join(folder, name, 'golden.json'), 'utf8')) as Golden
  const options = { ...deviceOptions, contextLength: golden.contextLength }
  let model: LanguageModel

  beforeAll(async () => {
    model = await loadModel(join(folder, name), options)
  })
  afterAll(() => model.dispose())

  it('gives the logits computed in float64', async () => {
    const { data, shape } = await model.logits(golden.ids)
    expect(shape).toEqual([golden.ids.length, model.vocabSize])
    const { logits } = golden
    const mean = logits.reduce((sum, x) => sum + x, 0) / logits.length
    const deviation = Math.sqrt(logits.reduce((sum, x) => sum + (x - mean) ** 2, 0) / logits.length)
    const worst = Math.max(...logits.map((x, i) => Math.abs(x - data[i]!)))
    expect(worst / deviation).toBeLessThan(2e-4)
  })

  it('gives the same bits on one thread', async () => {
    await using single = await loadModel(join(folder, name), { ...options, threads: 1 })
    expect((await single.logits(golden.ids)).data).toEqual((await model.logits(golden.ids)).data)
  })

  it.runIf(golden.greedy)('generates the greedy ids', async () => {
    const prompt = golden.ids.slice(0, golden.ids.length / 2)
    const { ids } = await model.complete(prompt, { maxTokens: golden.greedy!.length, ignoreEos: true })
    expect(ids).toEqual(golden.greedy)
  })

  it('generates what its logits say, step by step', async () => {
    const prompt = golden.ids.slice(0, 9)
    const { ids } = await model.complete(prompt, { maxTokens: 12, ignoreEos: true })
    const all = [...prompt, ...ids]
    const { data } = await model.logits(all)
    const V = model.vocabSize
    const expected = ids.map((_, i) => argmax(data.subarray((8 + i) * V, (9 + i) * V)))
    expect(ids).toEqual(expected)
  })
})

function argmax(values: Float32Array): number {
  return values.reduce((best, x, i) => (x > values[best]! ? i : best), 0)
}
