import { rmSync } from 'node:fs'
import { estimateMemory, type LanguageModel, loadModel } from 'kvasir'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { fixture, randomFolder, shakespeare } from './models.js'

const config = (width: number, layers: number) => ({
  model_type: 'llama',
  vocab_size: 11,
  max_position_embeddings: 256,
  hidden_size: width,
  intermediate_size: 2 * width,
  num_hidden_layers: layers,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  rms_norm_eps: 1e-5,
})

/** A prompt that says the same again and again. */
const repeated = Array.from({ length: 60 }, (_, i) => [3, 1, 4, 1, 5, 9, 2, 6][i % 8]!)
const sampled = (seed: number) => ({ temperature: 0.1 + (seed % 5) / 5, topP: 0.95, seed })

/** Ids with and without guessing, of many requests alone and at the same time. */
async function expectSameIds(model: LanguageModel, prompts: number[][], maxTokens = 60) {
  const requests = prompts.flatMap((prompt, i) =>
    [{}, ...Array.from({ length: 4 }, (_, s) => ({ ...sampled(10 * i + s), n: s === 3 ? 3 : 1 }))].map(
      (options) => ({ prompt, options }),
    ),
  )
  const run = async ({ prompt, options }: (typeof requests)[number], speculate: boolean) => {
    const { choices, usage } = await model.complete(prompt, {
      ...options,
      maxTokens,
      speculate,
      ignoreEos: true,
    })
    return {
      ids: choices.map((choice) => choice.ids),
      logprobs: choices.map((choice) => choice.logprob),
      usage,
    }
  }
  const plain: Awaited<ReturnType<typeof run>>[] = []
  for (const request of requests) plain.push(await run(request, false))
  expect(plain.every(({ usage }) => usage.draftedTokens === 0)).toBe(true)
  const alone: Awaited<ReturnType<typeof run>>[] = []
  for (const request of requests) alone.push(await run(request, true))
  const together = await Promise.all(requests.map((request) => run(request, true)))
  for (const [i, { ids, logprobs }] of plain.entries()) {
    expect([i, alone[i]!.ids]).toEqual([i, ids])
    expect([i, together[i]!.ids]).toEqual([i, ids])
    expect(alone[i]!.logprobs).toEqual(logprobs)
  }
  const sum = (of: (usage: (typeof alone)[number]['usage']) => number) =>
    [...alone, ...together].reduce((total, { usage }) => total + of(usage), 0)
  return { drafted: sum((usage) => usage.draftedTokens), accepted: sum((usage) => usage.acceptedTokens) }
}

describe('prompt lookup', () => {
  let folder: string
  beforeAll(async () => {
    folder = await randomFolder(config(32, 2))
  })
  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  it.each(['auto', 'q8'] as const)('gives the same ids (%s)', async (dtype) => {
    await using model = await loadModel(folder, { dtype, device: 'cpu' })
    const prompts = [repeated, repeated.slice(3, 40), [1, 2, 3], [7]]
    const { drafted, accepted } = await expectSameIds(model, prompts)
    expect(drafted).toBeGreaterThan(0)
    expect(accepted).toBeLessThanOrEqual(drafted)
    const stats = await model.stats()
    expect(stats).toMatchObject({ draftedTokens: drafted, acceptedTokens: accepted })
    expect(stats.speculation).toMatchObject({ draftingMs: 0, draftBlocks: 0 })
    expect(stats.speculation.steps).toBeGreaterThan(0)
    expect(stats.cache.usedBlocks).toBe(0)
  })

  it('gives the same ids in a tiny cache, with few rows and tokens a step', async () => {
    await using model = await loadModel(folder, {
      cacheBytes: 12 * 2 * 2 * 16 * 32 * 4,
      maxSequences: 5,
      stepTokens: 32,
      device: 'cpu',
    })
    const prompts = [
      repeated,
      repeated.slice(1),
      repeated.slice(2, 50),
      repeated.slice(5, 33),
      [1, 2, 3, 1, 2],
    ]
    await expectSameIds(model, prompts, 80)
    const { preemptions, cache } = await model.stats()
    expect(preemptions).toBeGreaterThan(0)
    expect(cache.usedBlocks).toBe(0)
  })

  it('gives the same ids where decoding runs ahead', async () => {
    await using model = await loadModel(folder, { lookahead: 4, device: 'cpu' })
    await expectSameIds(model, [repeated, [1, 2, 3]])
  })

  it('ends where plain decoding ends: at stop strings, end tokens, the context', async () => {
    await using model = await loadModel(shakespeare, { device: 'cpu' })
    const prompt = 'ROMEO:\nO my love, O my love, O my love, O my love, O my'
    const plain = await model.complete(prompt, { maxTokens: 100, speculate: false })
    for (const stop of [plain.text.slice(11, 14), plain.text.slice(40, 46)]) {
      const options = { maxTokens: 100, stop }
      const expected = await model.complete(prompt, { ...options, speculate: false })
      const { text, ids, finishReason } = await model.complete(prompt, options)
      expect({ text, ids, finishReason }).toEqual({
        text: expected.text,
        ids: expected.ids,
        finishReason: expected.finishReason,
      })
    }
    const ids = Array.from({ length: model.contextLength - 5 }, (_, i) => 300 + (i % 3))
    const full = await model.complete(ids, { speculate: false, ignoreEos: true })
    expect(full.ids).toHaveLength(6)
    expect((await model.complete(ids, { ignoreEos: true })).ids).toEqual(full.ids)
  })

  it('leaves texts alone in which tokens change how the next is chosen', async () => {
    await using model = await loadModel(folder, { device: 'cpu' })
    const options = { maxTokens: 40, ignoreEos: true }
    for (const own of [{ frequencyPenalty: 0.1 }, { logprobs: 2 }, { typicalP: 0.9 }, { beams: 2 }]) {
      const { usage } = await model.complete(repeated, { ...options, ...own })
      expect(usage.draftedTokens).toBe(0)
    }
    const [guessed, constrained] = await Promise.all([
      model.complete(repeated, { ...options, maxTokens: 200 }),
      model.complete(repeated, { ...options, frequencyPenalty: 0.1, maxTokens: 200 }),
    ])
    const plain = { ...options, maxTokens: 200, speculate: false }
    expect(guessed.ids).toEqual((await model.complete(repeated, plain)).ids)
    expect(constrained.ids).toEqual((await model.complete(repeated, { ...plain, frequencyPenalty: 0.1 })).ids)
  })

  it('draws from the same distribution', async () => {
    await using model = await loadModel(folder, { device: 'cpu' })
    const options = { maxTokens: 20, temperature: 0.4, ignoreEos: true }
    const draw = async (speculate: boolean, firstSeed: number) => {
      const texts: { ids: number[]; drafted: number }[] = []
      for (let seed = firstSeed; seed < firstSeed + 1600; seed += 8) {
        const some = Array.from({ length: 8 }, (_, i) =>
          model.complete(repeated, { ...options, seed: seed + i, speculate }),
        )
        for (const { ids, usage } of await Promise.all(some))
          texts.push({ ids, drafted: usage.draftedTokens })
      }
      return texts
    }
    const plain = await draw(false, 1)
    const guessed = await draw(true, 10_001)
    expect(guessed.reduce((sum, { drafted }) => sum + drafted, 0)).toBeGreaterThan(0)
    for (const at of [0, 1, 6, 10, 15, 19]) {
      const [a, b] = [plain, guessed].map((texts) => countIds(texts.map(({ ids }) => ids[at]!)))
      const { statistic, freedom } = chiSquare(a!, b!)
      // Four standard deviations above what is expected (Wilson & Hilferty 1931); the seeds are fixed.
      const limit = freedom * (1 - 2 / (9 * freedom) + 4 * Math.sqrt(2 / (9 * freedom))) ** 3
      expect(statistic).toBeLessThan(limit)
    }
  })
})

describe('a draft model', () => {
  let folder: string
  let other: string
  beforeAll(async () => {
    folder = await randomFolder(config(32, 2))
    other = await randomFolder({ ...config(16, 1), max_position_embeddings: 100 })
  })
  afterAll(() => {
    for (const one of [folder, other]) rmSync(one, { recursive: true, force: true })
  })

  it('that is the model itself is always right, at every temperature', async () => {
    await using model = await loadModel(folder, { draft: folder, device: 'cpu' })
    const prompts = [[1, 2, 3], [7], Array.from({ length: 150 }, (_, i) => (i * i) % 11)]
    const { drafted, accepted } = await expectSameIds(model, prompts)
    expect(drafted).toBeGreaterThan(0)
    expect(accepted).toBe(drafted)
    const { speculation, cache } = await model.stats()
    expect(speculation.draftingMs).toBeGreaterThan(0)
    expect(speculation.draftBlocks).toBe(0)
    expect(cache.usedBlocks).toBe(0)
  })

  it('that is another model changes nothing, even with a shorter context', async () => {
    await using model = await loadModel(folder, { draft: other, device: 'cpu' })
    await expectSameIds(
      model,
      [repeated, [1, 2, 3], Array.from({ length: 120 }, (_, i) => (i * i) % 11)],
      100,
    )
    expect((await model.stats()).speculation.draftBlocks).toBe(0)
  })

  it('works in a tiny cache, and in other types', async () => {
    await using model = await loadModel(folder, {
      draft: folder,
      draftDtype: 'q8',
      cacheBytes: 12 * (2 * 2 * 16 * 32 * 4 + 2 * 2 * 16 * 32 * 2),
      maxSequences: 4,
      stepTokens: 32,
      device: 'cpu',
    })
    await expectSameIds(model, [repeated, repeated.slice(1), [1, 2, 3], repeated.slice(5, 33)], 80)
    const { speculation, cache } = await model.stats()
    expect([speculation.draftBlocks, cache.usedBlocks]).toEqual([0, 0])
  })

  it('gives its blocks back when texts are aborted, and ends with the model', async () => {
    const model = await loadModel(folder, { draft: folder, device: 'cpu' })
    const endings = await Promise.allSettled(
      Array.from({ length: 6 }, (_, i) =>
        model.complete([i, 1, 2], { ignoreEos: true, timeoutMs: 20 + 5 * i, maxTokens: 240 }),
      ),
    )
    expect(endings.length).toBe(6)
    await model.complete([1], { maxTokens: 1 })
    expect((await model.stats()).speculation.draftBlocks).toBe(0)
    const last = model.complete([1, 2], { ignoreEos: true, maxTokens: 200 }).catch((error) => error)
    await model.dispose()
    await last
  })

  it('is part of what memory is planned and reported', async () => {
    const options = { device: 'cpu', maxSequences: 4 } as const
    const [alone, both] = [
      await estimateMemory(folder, options),
      await estimateMemory(folder, { ...options, draft: other }),
    ]
    expect(both.weightBytes).toBeGreaterThan(alone.weightBytes)
    expect(both.cacheBytes).toBeGreaterThan(alone.cacheBytes)
    const seen: { loadedBytes: number; totalBytes: number }[] = []
    const onProgress = (progress: { loadedBytes: number; totalBytes: number }) => void seen.push(progress)
    await using model = await loadModel(folder, { ...options, draft: other, onProgress })
    const { weightBytes, cacheBytes, activationBytes } = model.info
    expect(both).toMatchObject({ weightBytes, cacheBytes, activationBytes })
    expect(seen.at(-1)!.loadedBytes).toBe(seen.at(-1)!.totalBytes)
  })

  it('must have the same vocabulary', async () => {
    await expect(loadModel(folder, { draft: fixture })).rejects.toMatchObject({
      name: 'RangeError',
      code: 'ERR_INVALID_ARG_VALUE',
      message: expect.stringMatching(
        /^loadModel: draft must be a model with the same vocabulary of 11 tokens, got \d+$/,
      ),
    })
    await expect(loadModel(folder, { draft: 3 as never })).rejects.toThrow('draft must be a string')
    await expect(loadModel(folder, { draft: folder, draftDtype: 'f8' as never })).rejects.toThrow(
      'draftDtype',
    )
    await expect(loadModel(folder, { draft: '/nowhere/at-all' })).rejects.toMatchObject({
      code: 'ERR_FILE_NOT_FOUND',
    })
  })
})

function countIds(ids: readonly number[]): Map<number, number> {
  const counts = new Map<number, number>()
  for (const id of ids) counts.set(id, (counts.get(id) ?? 0) + 1)
  return counts
}

/** Of two samples of the same size; ids that were rarely drawn are taken together. */
function chiSquare(a: Map<number, number>, b: Map<number, number>): { statistic: number; freedom: number } {
  const rare: [number, number] = [0, 0]
  const classes: [number, number][] = [rare]
  for (const id of new Set([...a.keys(), ...b.keys()])) {
    const pair: [number, number] = [a.get(id) ?? 0, b.get(id) ?? 0]
    if (pair[0] + pair[1] >= 10) classes.push(pair)
    else for (const i of [0, 1] as const) rare[i] += pair[i]
  }
  const counted = classes.filter(([x, y]) => x + y > 0)
  const statistic = counted.reduce((sum, [x, y]) => sum + (x - y) ** 2 / (x + y), 0)
  return { statistic, freedom: Math.max(1, counted.length - 1) }
}
