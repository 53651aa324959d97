import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { setTimeout as later } from 'node:timers/promises'
import { type GenerateOptions, type LanguageModel, type LoadOptions, loadModel } from 'kvasir'
import { describe, expect, it } from 'vitest'
import { rootDir } from '../shared.js'
import { fixture, shakespeare } from './models.js'

interface Call {
  prompt: number[]
  options: GenerateOptions
}

/** Calls of many lengths, some of which begin alike; half of them draw. */
function callsOf(count: number, vocabSize: number, contextLength: number): Call[] {
  return Array.from({ length: count }, (_, i) => {
    const common = (i % 4) * Math.floor(contextLength / 8)
    const own = 1 + ((i * 7) % 11)
    const prompt = Array.from({ length: common + own }, (_, j) =>
      j < common ? (j * 5 + (i % 2)) % vocabSize : (i * 17 + j * 3) % vocabSize,
    )
    const wanted = i % 8 === 3 ? 45 : 1 + ((i * 5) % 23)
    const maxTokens = Math.min(wanted, contextLength - prompt.length)
    const drawn = { temperature: 0.5 + (i % 3), seed: 100 + i, topK: i % 5 === 0 ? 7 : 0, topP: 0.9 }
    return { prompt, options: { maxTokens, priority: i % 3, ...(i % 2 === 0 ? {} : drawn) } }
  })
}

async function answer(model: LanguageModel, { prompt, options }: Call, more: GenerateOptions = {}) {
  const { ids, pieces, finishReason } = await model.complete(prompt, { ...options, ...more })
  return { ids, logprobs: pieces.map(({ logprob }) => logprob), finishReason }
}

/** Quick to compare. */
function bitsOf(data: Float32Array): string {
  return createHash('sha1').update(data).digest('hex')
}

/** The bytes that so many blocks of the KV cache take. */
async function bytesOf(blocks: number, folder: string, options: LoadOptions): Promise<number> {
  await using model = await loadModel(folder, options)
  const { cache } = await model.stats()
  return (cache.bytes / cache.blocks) * blocks
}

const models: [name: string, folder: string, options: LoadOptions, calls: number][] = [
  ['llama in f32', fixture, { dtype: 'f32' }, 64],
  ['llama in q8', fixture, { dtype: 'q8' }, 64],
  ['gpt2', join(rootDir, 'test', 'fixtures', 'gpt2'), {}, 64],
  ['a sliding window', join(rootDir, 'test', 'fixtures', 'decoder-alibi'), {}, 64],
  ['tiny-shakespeare in f32', shakespeare, { dtype: 'f32' }, 64],
  ['tiny-shakespeare in q8, with a cache of bytes', shakespeare, { dtype: 'q8', cacheDtype: 'q8' }, 64],
]

describe.each(models)(
  '%s answers many calls at once with the bits of each alone',
  (_, folder, given, count) => {
    const base = { device: 'cpu', ...given } as const

    it('whatever the steps, the order, the threads, the prefixes and the room', async () => {
      await using alone = await loadModel(folder, { ...base, threads: 1 })
      const calls = callsOf(count, alone.vocabSize, alone.contextLength)
      const expected: unknown[] = []
      for (const call of calls) expected.push(await answer(alone, call, { reusePrefix: false }))

      const blocks = Math.ceil(alone.contextLength / 32)
      const variants: [LoadOptions, GenerateOptions][] = [
        [{ threads: 1 }, {}],
        [{ threads: 2 }, { reusePrefix: false }],
        [{ threads: 3, stepTokens: 32, promptTokens: 5, maxSequences: 7 }, {}],
        [{ threads: 2, stepTokens: 64, promptTokens: 1 }, {}],
        [{ threads: 2, cacheBytes: await bytesOf(blocks, folder, base) }, {}],
        [
          { threads: 1, cacheBytes: await bytesOf(blocks + 3, folder, base), stepTokens: 40 },
          { cacheSalt: 'own' },
        ],
        [{ threads: 2, lookahead: 8 }, {}],
      ]
      let preempted = 0
      for (const [i, [load, more]] of variants.entries()) {
        await using model = await loadModel(folder, { ...base, ...load })
        for (const round of [0, 1]) {
          const order = calls.map((_, j) => (j * (2 * i + 5 + 2 * round)) % count) // 64 and an odd number have no divisor
          const answers: unknown[] = []
          await Promise.all(
            order.map(async (j) => {
              await later(4 * calls[j]!.options.priority!) // the urgent ones find the others at work
              answers[j] = await answer(model, calls[j]!, more)
            }),
          )
          expect(answers, `variant ${i}, round ${round}`).toEqual(expected)
        }
        const { cache, running, waiting, completed, preemptions } = await model.stats()
        expect({ used: cache.usedBlocks, running, waiting, completed }).toEqual({
          used: 0,
          running: 0,
          waiting: 0,
          completed: 2 * count,
        })
        preempted += preemptions
      }
      expect(preempted).toBeGreaterThan(0)
    })

    it('while others embed, score and look at logits', async () => {
      await using model = await loadModel(folder, { ...base, stepTokens: 48, promptTokens: 16 })
      const calls = callsOf(16, model.vocabSize, model.contextLength)
      const prompts = calls.map(({ prompt }) => prompt)
      const one = (i: number) =>
        [
          () => answer(model, calls[i]!),
          () => model.embed([prompts[i]!], { normalize: i % 2 === 0 }),
          async () => bitsOf((await model.logits(prompts[i]!)).data),
          () => model.nextTokens(prompts[i]!, { top: 5 }),
        ].map((body) => body())
      const alone = []
      for (let i = 0; i < 16; i++) alone.push(await Promise.all(one(i)))
      const together = await Promise.all(Array.from({ length: 16 }, (_, i) => Promise.all(one(15 - i))))
      expect(together.reverse()).toEqual(alone)
    })
  },
)

// Every control of sampling, several texts of one prompt, and searches: alone, together, and where blocks are scarce.
describe('calls with controls of all kinds', () => {
  const controls: GenerateOptions[] = [
    { n: 3, temperature: 1, seed: 5 },
    { logprobs: 3 },
    { promptLogprobs: 2, logprobs: 0 },
    { repetitionPenalty: 1.3, presencePenalty: 0.5, frequencyPenalty: 0.2 },
    { n: 2, logitBias: { 5: 2, 9: Number.NEGATIVE_INFINITY }, temperature: 0.7, seed: 9 },
    { typicalP: 0.8, temperature: 1.2, seed: 3 },
    { constraint: { regex: '[a-z ]{5,30}' } },
    { constraint: { choices: ['yes', 'no'] }, n: 2, temperature: 1, seed: 4 },
    { speculate: true, temperature: 0 },
  ]
  const answerOf = async (model: LanguageModel, i: number) => {
    const length = 1 + ((i * 29) % 100)
    const prompt = Array.from({ length }, (_, j) => (j < 40 ? j * 3 : i * 7 + j) % 1000)
    const isSearch = i % 10 === 7
    const options = isSearch
      ? { beams: 3, n: 2, maxTokens: 12 }
      : { maxTokens: 5 + (i % 40), ...controls[i % controls.length] }
    await later(3 * (i % 3))
    const { choices, promptTokens } = await model.complete(prompt, { ...options, priority: i % 3 })
    return { choices, promptTokens }
  }

  it('answer with the same bits', async () => {
    const calls = Array.from({ length: 60 }, (_, i) => i)
    await using alone = await loadModel(shakespeare, { device: 'cpu', threads: 1 })
    const expected: unknown[] = []
    for (const i of calls) expected.push(await answerOf(alone, i))
    const { cache } = await alone.stats()
    const scarce = { cacheBytes: (cache.bytes / cache.blocks) * 12, stepTokens: 48, promptTokens: 8 }
    for (const options of [{}, scarce]) {
      await using model = await loadModel(shakespeare, { device: 'cpu', ...options })
      const answers = await Promise.all(calls.map((i) => answerOf(model, i)))
      for (const i of calls) expect(answers[i], `call ${i}`).toEqual(expected[i])
      const stats = await model.stats()
      expect(stats).toMatchObject({ running: 0, waiting: 0, failed: 0, cache: { usedBlocks: 0 } })
    }
  })
})
