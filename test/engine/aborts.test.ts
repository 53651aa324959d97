import { setTimeout as later } from 'node:timers/promises'
import { type GenerateOptions, type LanguageModel, loadModel } from 'kvasir'
import { describe, expect, it } from 'vitest'
import { fixture, shakespeare } from './models.js'

/** Numbers from 0 to 1, always the same ones. */
function randomNumbers(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 32
  }
}

const prompt = (i: number) => Array.from({ length: 1 + ((i * 7) % 50) }, (_, j) => (j < 32 ? j : i + j) % 71)

async function settlesOnce(counts: { settled: number }, call: Promise<unknown>): Promise<void> {
  const count = () => {
    counts.settled++
  }
  await call.then(count, count)
}

/** Once all is over, nothing is left, and the model answers as before. */
async function expectIdle(model: LanguageModel, before: number[]): Promise<void> {
  const { ids } = await model.complete([1, 2, 3], { maxTokens: 10 })
  expect(ids).toEqual(before)
  const stats = await model.stats()
  expect(stats).toMatchObject({ running: 0, waiting: 0, cache: { usedBlocks: 0 } })
}

describe('ten thousand aborts', () => {
  // One of the ways to end a call early, at a random moment.
  const ways = [
    (model: LanguageModel, i: number, delayMs: number, options: GenerateOptions) => {
      const controller = new AbortController()
      setTimeout(() => controller.abort('enough'), delayMs)
      return model.complete(prompt(i), { ...options, signal: controller.signal })
    },
    (model: LanguageModel, i: number, delayMs: number, options: GenerateOptions) =>
      model.complete(prompt(i), { ...options, timeoutMs: Math.floor(delayMs) }),
    async (model: LanguageModel, i: number, delayMs: number, options: GenerateOptions) => {
      let left = Math.floor(delayMs)
      for await (const _ of model.generate(prompt(i), options)) if (left-- <= 0) break
    },
    async (model: LanguageModel, i: number, delayMs: number, options: GenerateOptions) => {
      let left = Math.floor(delayMs)
      for await (const _ of model.generate(prompt(i), options)) if (left-- <= 0) throw new Error('reader')
    },
    (model: LanguageModel, i: number, delayMs: number) => {
      const signal = AbortSignal.timeout(Math.ceil(delayMs))
      const call = [
        () => model.nextTokens(prompt(i), { signal }),
        () => model.logits(prompt(i), { signal }),
        () => model.embed([prompt(i), prompt(i + 1)], { signal }),
      ]
      return call[i % 3]!()
    },
  ]

  it.each([
    ['with room for many', {}],
    ['with room for few', { cacheBytes: 6, lookahead: 4 }],
  ])(
    'leave nothing behind, %s',
    async (_, { cacheBytes, ...options }: { cacheBytes?: number; lookahead?: number }) => {
      const plain = await loadModel(fixture)
      const { cache } = await plain.stats()
      const before = (await plain.complete([1, 2, 3], { maxTokens: 10 })).ids
      await plain.dispose()
      const bytes = cacheBytes && { cacheBytes: (cache.bytes / cache.blocks) * cacheBytes }
      await using model = await loadModel(fixture, { ...options, ...bytes })
      const random = randomNumbers(3)
      const counts = { settled: 0 }
      const calls = 5000
      const lane = async (first: number) => {
        for (let i = first; i < calls; i += 100) {
          const sampling = {
            maxTokens: 1 + Math.floor(random() * 40),
            priority: i % 3,
            cacheSalt: i % 4 ? '' : 'own',
          }
          const body = () => ways[i % ways.length]!(model, i, random() * 8, sampling)
          await settlesOnce(counts, (async () => body())())
        }
      }
      await Promise.all(Array.from({ length: 100 }, (_, i) => lane(i)))
      expect(counts.settled).toBe(calls)
      await expectIdle(model, before)
      const { completed, aborted, failed } = await model.stats()
      expect(failed).toBe(0)
      expect(aborted).toBeGreaterThan(500)
      expect(completed).toBeGreaterThan(100)
    },
  )

  it('of calls that all stop at once', async () => {
    await using model = await loadModel(fixture)
    const before = (await model.complete([1, 2, 3], { maxTokens: 10 })).ids
    const controller = new AbortController()
    const calls = Array.from({ length: 1000 }, (_, i) =>
      model.complete(prompt(i), { signal: controller.signal }),
    )
    setTimeout(() => controller.abort(), 10)
    const ends = await Promise.allSettled(calls)
    for (const end of ends) if (end.status === 'rejected') expect(end.reason).toBe(controller.signal.reason)
    expect(ends.filter(({ status }) => status === 'rejected').length).toBeGreaterThan(500)
    await expectIdle(model, before)
  })

  it('of the model itself, with many calls of all kinds under way', async () => {
    for (const delayMs of [0, 1, 3, 10, 25]) {
      const model = await loadModel(fixture)
      const counts = { settled: 0 }
      const sequence = await model.sequence([1, 2])
      const reading = async (i: number) => {
        for await (const _ of model.generate(prompt(i), { maxTokens: 30 })) await later(1)
      }
      const calls = Array.from({ length: 100 }, (_, i) => [
        model.complete(prompt(i), { maxTokens: 60 }),
        reading(i),
        model.nextTokens(prompt(i)),
        model.logits(prompt(i)),
        model.embed([prompt(i)]),
        sequence.append([1]).then(() => sequence.logits()),
      ]).flat()
      const settled = Promise.all(calls.map((call) => settlesOnce(counts, call)))
      await later(delayMs)
      await model.dispose()
      await settled
      expect(counts.settled).toBe(600)
      await expect(model.complete([1])).rejects.toMatchObject({ code: 'ERR_DISPOSED' })
    }
  })
})

describe('a slow reader', () => {
  it('lets its own text rest while others go on, and goes on when it reads again', async () => {
    await using model = await loadModel(fixture, { contextLength: 64 })
    await using long = await loadModel(shakespeare, { lookahead: 3 })
    const expected = (await long.complete([5], { maxTokens: 255 })).ids
    expect(expected).toHaveLength(255)
    // Several texts of one caller wait in one buffer.
    const slow = long.generate([5], { maxTokens: 255, n: 4, temperature: 0, seed: 1 })
    const first = (await slow.next()).value!
    let generated = 0
    for (let i = 0; i < 100; i++) {
      await later(5)
      const now = (await long.stats()).generatedTokens
      if (now === generated) break
      generated = now
    }
    // 255 of the call above; what rests is bounded by what waits in the buffer and what was on its way.
    expect(generated - 255).toBeGreaterThan(256)
    expect(generated - 255).toBeLessThan(4 * 255)
    expect((await long.complete([5], { maxTokens: 30 })).ids).toEqual(expected.slice(0, 30))
    const texts: number[][] = [[], [], [], []]
    texts[first.choice]!.push(first.id)
    for await (const { choice, id } of slow) texts[choice]!.push(id)
    expect(texts).toEqual([expected, expected, expected, expected])
    expect(await long.stats()).toMatchObject({ running: 0, waiting: 0, cache: { usedBlocks: 0 } })
    expect((await model.complete([1], { maxTokens: 3 })).ids).toHaveLength(3)
  })

  it('can end its text while it rests', async () => {
    await using model = await loadModel(shakespeare)
    const slow = model.generate([5], { maxTokens: 200, n: 4 })
    await slow.next()
    await later(150)
    await slow.return()
    expect(await model.stats()).toMatchObject({ running: 0, waiting: 0, cache: { usedBlocks: 0 } })
  })
})
