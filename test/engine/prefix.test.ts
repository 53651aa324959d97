import { type GenerateOptions, type LanguageModel, type LoadOptions, loadModel } from 'kvasir'
import { describe, expect, it } from 'vitest'
import { fixture, shakespeare } from './models.js'

const range = (length: number, first = 0) => Array.from({ length }, (_, i) => (first + i) % 1000)

async function withBlocks(blocks: number, options: LoadOptions = {}): Promise<LanguageModel> {
  const plain = await loadModel(shakespeare, options)
  const { cache } = await plain.stats()
  await plain.dispose()
  return loadModel(shakespeare, { ...options, cacheBytes: (cache.bytes / cache.blocks) * blocks })
}

describe('what was computed of a beginning', () => {
  const cached = async (model: LanguageModel, prompt: number[], options: GenerateOptions = {}) =>
    (await model.complete(prompt, { maxTokens: 1, ...options })).usage.cachedTokens

  it('is used again by whole blocks, and the last token is always computed', async () => {
    await using model = await loadModel(shakespeare)
    expect(await cached(model, range(100))).toBe(0)
    expect(await cached(model, range(100))).toBe(96)
    expect(await cached(model, range(96))).toBe(64)
    expect(await cached(model, range(97))).toBe(96)
    expect(await cached(model, [...range(63), 900, ...range(30)])).toBe(32)
    expect(await cached(model, range(100, 1))).toBe(0)
    expect((await model.stats()).cachedTokens).toBe(96 + 64 + 96 + 32)
  })

  it('is a text that was generated, too', async () => {
    await using model = await loadModel(shakespeare)
    const { ids } = await model.complete(range(40), { maxTokens: 60 })
    // Of 100 tokens the last one was never fed.
    expect(await cached(model, [...range(40), ...ids])).toBe(96)
  })

  it('is shared by calls of one salt alone', async () => {
    await using model = await loadModel(shakespeare)
    await cached(model, range(100), { cacheSalt: 'a' })
    expect(await cached(model, range(100), { cacheSalt: 'b' })).toBe(0)
    expect(await cached(model, range(100))).toBe(0)
    expect(await cached(model, range(100), { cacheSalt: 'a' })).toBe(96)
  })

  it('is neither taken nor left where that is asked for', async () => {
    await using model = await loadModel(shakespeare)
    await cached(model, range(100), { reusePrefix: false })
    expect(await cached(model, range(100))).toBe(0)
    expect(await cached(model, range(100), { reusePrefix: false })).toBe(0)
    expect(await cached(model, range(100))).toBe(96)
  })

  it('is left by nextTokens to its own salt, or to nobody', async () => {
    await using model = await loadModel(shakespeare)
    await model.nextTokens(range(100), { cacheSalt: 'a' })
    await model.nextTokens(range(100, 300), { reusePrefix: false })
    expect(await cached(model, range(100))).toBe(0)
    expect(await cached(model, range(100, 300))).toBe(0)
    expect(await cached(model, range(100), { cacheSalt: 'a' })).toBe(96)
    const before = await model.nextTokens(range(70, 500))
    expect(await model.nextTokens(range(70, 500))).toEqual(before)
  })

  it('is evicted, the longest unused first', async () => {
    await using model = await withBlocks(8) // a whole context
    const [a, b, c] = [range(65), range(65, 200), range(65, 400)] // two blocks each that stay
    await cached(model, a)
    await cached(model, b)
    expect(await cached(model, a)).toBe(64)
    await cached(model, c)
    expect(await cached(model, range(90, 600))).toBe(0)
    expect(await cached(model, a)).toBe(64)
    expect(await cached(model, c)).toBe(64)
    expect(await cached(model, b)).toBeLessThan(64)
  })

  it('stays of a call that was aborted, and is right', async () => {
    await using model = await loadModel(shakespeare, { stepTokens: 32 })
    await using other = await loadModel(shakespeare)
    const prompt = range(200)
    for await (const _ of model.generate(prompt, { maxTokens: 20 })) break
    const { usage, ids } = await model.complete(prompt, { maxTokens: 20 })
    expect(usage.cachedTokens).toBe(192)
    expect(ids).toEqual((await other.complete(prompt, { maxTokens: 20 })).ids)
  })
})

describe('a call among others', () => {
  it('is refused at once, with figures, when it can never fit', async () => {
    await using model = await withBlocks(3)
    const figures = /7 blocks of the KV cache, which has 3 of 32 tokens each/
    const expected = { name: 'OutOfMemoryError', code: 'ERR_OUT_OF_MEMORY' }
    const calls = [
      () => model.complete(range(200)),
      () => model.complete(range(10), { maxTokens: 200 }),
      () => model.nextTokens(range(200)),
      () => model.logits(range(200)),
      () => model.embed([range(5), range(200)]),
      () => model.sequence(range(200)),
    ]
    for (const call of calls) {
      const failing = call().then(
        () => null,
        (error) => error,
      )
      const error = await failing
      expect(error).toMatchObject(expected)
      expect(error.message).toMatch(figures)
    }
    // As long as the cache lasts, where no length was asked for.
    const { ids, finishReason } = await model.complete(range(90))
    expect(ids).toHaveLength(7)
    expect(finishReason).toBe('length')
    expect((await model.stats()).cache.usedBlocks).toBe(0)
  })

  it('goes before others of lower priority', async () => {
    await using model = await loadModel(shakespeare, { maxSequences: 1 })
    const order: number[] = []
    const call = (priority: number) =>
      model.complete(range(20), { maxTokens: 5, priority }).then(() => order.push(priority))
    await Promise.all([call(9), ...[0, -5, 3, 1, 2].map(call)]) // the first one may have begun
    expect(order).toEqual([9, 3, 2, 1, 0, -5])
  })

  it('takes the blocks of others of lower priority, and they end as if it had not come', async () => {
    await using model = await withBlocks(8)
    const options = { maxTokens: 150, temperature: 1, seed: 1, priority: -1 }
    const alone = await model.complete(range(80), options)
    const before = (await model.stats()).preemptions
    let urgent: Promise<unknown> | undefined
    const ids: number[] = []
    for await (const piece of model.generate(range(80), options)) {
      ids.push(piece.id)
      if (ids.length === 40) urgent = model.complete(range(200, 500), { maxTokens: 3, priority: 1 })
    }
    await urgent
    expect(ids).toEqual(alone.ids)
    expect((await model.stats()).preemptions).toBeGreaterThan(before)
  })

  it('ends with a DeadlineError when it takes too long', async () => {
    await using model = await loadModel(fixture)
    const late = { name: 'DeadlineError', code: 'ERR_DEADLINE' }
    const blocking = Array.from({ length: 300 }, (_, i) => model.complete([i % 70, 2], { maxTokens: 60 }))
    const options = { timeoutMs: 1, priority: -1 }
    const read = async () => {
      for await (const _ of model.generate([1], { ...options, maxTokens: 50 }))
        await new Promise(setImmediate)
    }
    await Promise.all([
      expect(model.complete([1], options)).rejects.toMatchObject({
        ...late,
        message: 'complete: not done within 1 ms',
      }),
      expect(read()).rejects.toMatchObject(late),
      expect(model.nextTokens([1], { timeoutMs: 0, priority: -1 })).rejects.toMatchObject(late),
      expect(model.embed([[1]], { timeoutMs: 0, priority: -1 })).rejects.toMatchObject(late),
    ])
    await expect(model.complete([1], { maxTokens: 2, timeoutMs: 60_000 })).resolves.toMatchObject({
      finishReason: 'length',
    })
    expect((await Promise.all(blocking)).length).toBe(300)
  })
})

describe('stats', () => {
  it('count what was done, and how long it took', async () => {
    await using model = await loadModel(shakespeare)
    const before = await model.stats()
    expect(before).toMatchObject({ completed: 0, aborted: 0, failed: 0, steps: 0, generatedTokens: 0 })
    const calls = Array.from({ length: 20 }, (_, i) =>
      model.complete(range(10 + i, i * 7), { maxTokens: 1 + i }),
    )
    await Promise.all(calls)
    await model.nextTokens(range(5))
    await model.embed([range(6), range(7)])
    await expect(model.complete([5000])).rejects.toThrow()
    for await (const _ of model.generate(range(3), { maxTokens: 200 })) break
    const prompts = Array.from({ length: 20 }, (_, i) => 10 + i).reduce((a, b) => a + b)
    const stats = await model.stats()
    expect(stats).toMatchObject({ completed: 22, failed: 1, aborted: 1, running: 0, waiting: 0 })
    expect(stats.promptTokens).toBe(prompts + 5 + 13 + 3 - stats.cachedTokens)
    expect(stats.generatedTokens).toBeGreaterThanOrEqual(211)
    const sum = (counts: number[]) => counts.reduce((a, b) => a + b)
    expect(sum(stats.queueMs.counts)).toBe(21)
    expect(sum(stats.firstTokenMs.counts)).toBe(21)
    expect(sum(stats.interTokenMs.counts)).toBe(stats.generatedTokens - 21)
    expect(sum(stats.stepMs.counts)).toBe(stats.steps)
    for (const { bounds, counts } of [stats.queueMs, stats.firstTokenMs, stats.interTokenMs, stats.stepMs])
      expect(counts).toHaveLength(bounds.length + 1)
    expect(stats.stepMs.sum).toBeCloseTo(stats.nativeMs + stats.engineMs, 3)
    expect(stats.cache).toMatchObject({ usedBlocks: 0, blockTokens: 32 })
  })
})
