import { type LanguageModel, loadModel, type Piece } from 'kvasir'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { fixture, shakespeare } from './models.js'

const prompt = 'ROMEO:\nO, '

describe('sampling controls', () => {
  let model: LanguageModel
  beforeAll(async () => {
    model = await loadModel(shakespeare, { device: 'cpu' })
  })
  afterAll(() => model.dispose())

  const softmax = (row: Float32Array) => {
    const most = Math.max(...row)
    const total = row.reduce((sum, x) => sum + Math.exp(x - most), 0)
    return Array.from(row, (x) => x - most - Math.log(total))
  }
  /** Log probabilities after each token. */
  const logprobsOf = async (ids: number[]) => {
    const { data, shape } = await model.logits(ids)
    return Array.from({ length: shape[0] }, (_, t) =>
      softmax(data.subarray(t * shape[1], (t + 1) * shape[1])),
    )
  }

  it('tells the likeliest tokens in place of each', async () => {
    const { ids, pieces } = await model.complete(prompt, {
      maxTokens: 6,
      logprobs: 4,
      temperature: 1,
      seed: 5,
    })
    const promptIds = await model.tokenize(prompt)
    const rows = await logprobsOf([...promptIds, ...ids])
    for (const [i, { id, logprob, top }] of pieces.entries()) {
      const row = rows[promptIds.length - 1 + i]!
      const order = [...row.keys()].sort((a, b) => row[b]! - row[a]! || a - b).slice(0, 4)
      expect(top!.map((one) => one.id)).toEqual(order)
      for (const one of top!) expect(one.logprob).toBeCloseTo(row[one.id]!, 4)
      expect(logprob).toBeCloseTo(row[id]!, 4)
    }
    const [plain] = (await model.complete(prompt, { maxTokens: 1 })).pieces as [Piece]
    expect(plain.top).toBeUndefined()
    expect((await model.complete(prompt, { maxTokens: 6, temperature: 1, seed: 5 })).ids).toEqual(ids)
  })

  it("tells the prompt's own log probabilities, in any chunking", async () => {
    const ids = Array.from({ length: 150 }, (_, i) => (i * 37) % 900)
    const rows = await logprobsOf(ids)
    const { promptTokens, usage } = await model.complete(ids, { maxTokens: 1, promptLogprobs: 2 })
    expect(promptTokens).toHaveLength(ids.length - 1)
    expect(usage.cachedTokens).toBe(0)
    for (const [i, { id, logprob, top }] of promptTokens!.entries()) {
      expect(id).toBe(ids[i + 1])
      expect(logprob).toBeCloseTo(rows[i]![id]!, 3)
      expect(top).toHaveLength(2)
      expect(top[0]!.logprob).toBeCloseTo(Math.max(...rows[i]!), 3)
    }
    await using small = await loadModel(shakespeare, { device: 'cpu', stepTokens: 32 })
    const again = await small.complete(ids, { maxTokens: 1, promptLogprobs: 2 })
    expect(again.promptTokens).toEqual(promptTokens)
  })

  it('bans and favours tokens by bias', async () => {
    const [first] = (await model.complete(prompt, { maxTokens: 1 })).ids
    const banned = await model.complete(prompt, {
      maxTokens: 1,
      logitBias: { [first!]: Number.NEGATIVE_INFINITY },
    })
    expect(banned.ids[0]).not.toBe(first)
    const [second] = await model.nextTokens(prompt, { top: 2 }).then((all) => all.slice(1))
    expect(banned.ids[0]).toBe(second!.id)
    const favoured = await model.complete(prompt, { maxTokens: 3, logitBias: new Map([[7, 1000]]) })
    expect(favoured.ids).toEqual([7, 7, 7])
    await expect(model.complete(prompt, { logitBias: { 100000: 1 } })).rejects.toMatchObject({
      code: 'ERR_INVALID_ARG_VALUE',
    })
    const everything = Object.fromEntries(
      Array.from({ length: 1024 }, (_, id) => [id, Number.NEGATIVE_INFINITY]),
    )
    await expect(model.complete(prompt, { logitBias: everything })).rejects.toMatchObject({
      code: 'ERR_NUMERIC',
    })
  })

  it('penalises what was there before', async () => {
    const ids = await model.tokenize('the the the the the the')
    const plain = (await model.complete(ids, { maxTokens: 40, ignoreEos: true })).ids
    const never = { maxTokens: 40, ignoreEos: true, presencePenalty: 100 }
    const once = (await model.complete(ids, never)).ids
    expect(new Set(once).size).toBe(once.length)
    const often = (await model.complete(ids, { ...never, presencePenalty: 0, frequencyPenalty: 100 })).ids
    expect(new Set(often).size).toBe(often.length)
    const factor = (await model.complete(ids, { maxTokens: 40, ignoreEos: true, repetitionPenalty: 100 })).ids
    expect(factor).not.toEqual(plain)
    // By hand: a greedy step under the three penalties together.
    const text: number[] = []
    const options = { repetitionPenalty: 1.3, presencePenalty: 0.4, frequencyPenalty: 0.2 }
    for (let i = 0; i < 8; i++) {
      const all = [...ids, ...text]
      const { data, shape } = await model.logits(all)
      const row = Array.from(data.subarray((all.length - 1) * shape[1]))
      for (const id of new Set(all)) {
        const count = text.filter((one) => one === id).length
        row[id] = row[id]! > 0 ? row[id]! / 1.3 : row[id]! * 1.3
        row[id]! -= 0.4 * Number(count > 0) + 0.2 * count
      }
      text.push(row.indexOf(Math.max(...row)))
    }
    expect((await model.complete(ids, { maxTokens: 8, ignoreEos: true, ...options })).ids).toEqual(text)
  })

  it('makes several texts of one prompt, each as if it were alone', async () => {
    const options = { maxTokens: 24, temperature: 1, seed: 11 }
    for (const length of [1, 31, 32, 33, 70]) {
      const ids = Array.from({ length }, (_, i) => (i * 31 + 5) % 300)
      const { choices, usage } = await model.complete(ids, { ...options, n: 4 })
      expect(choices).toHaveLength(4)
      expect(usage.completionTokens).toBe(choices.reduce((sum, { ids }) => sum + ids.length, 0))
      for (const [i, choice] of choices.entries())
        expect(choice.ids).toEqual((await model.complete(ids, { ...options, seed: 11 + i })).ids)
    }
    const pieces: Piece[] = []
    for await (const piece of model.generate(prompt, { ...options, n: 3 })) pieces.push(piece)
    const { choices } = await model.complete(prompt, { ...options, n: 3 })
    for (const [i, { ids }] of choices.entries())
      expect(pieces.filter(({ choice }) => choice === i).map(({ id }) => id)).toEqual(ids)
    expect((await model.stats()).cache.usedBlocks).toBe(0)
  })

  it('finds the likeliest text by beams', async () => {
    const options = { maxTokens: 5, ignoreEos: true }
    const greedy = await model.complete(prompt, options)
    const { choices } = await model.complete(prompt, { ...options, beams: 8, n: 4 })
    expect(choices).toHaveLength(4)
    expect(choices[0]!.logprob).toBeGreaterThanOrEqual(greedy.logprob - 1e-4)
    const sums = choices.map(({ logprob }) => logprob)
    expect(sums).toEqual(sums.toSorted((a, b) => b - a))
    // Each sum is the text's own.
    const promptIds = await model.tokenize(prompt)
    for (const { ids, logprob, text } of choices) {
      const rows = await logprobsOf([...promptIds, ...ids])
      const sum = ids.reduce((total, id, i) => total + rows[promptIds.length - 1 + i]![id]!, 0)
      expect(logprob).toBeCloseTo(sum, 3)
      expect(text).toBe(await model.detokenize(ids))
    }
    // By hand, with a plain beam search.
    let beams: { ids: number[]; sum: number }[] = [{ ids: [], sum: 0 }]
    for (let step = 0; step < options.maxTokens; step++) {
      const all = []
      for (const { ids, sum } of beams) {
        const row = (await logprobsOf([...promptIds, ...ids])).at(-1)!
        for (const [id, logprob] of row.entries()) all.push({ ids: [...ids, id], sum: sum + logprob })
      }
      beams = all.sort((a, b) => b.sum - a.sum).slice(0, 8)
    }
    expect(choices.map(({ ids }) => ids)).toEqual(beams.slice(0, 4).map(({ ids }) => ids))
    expect((await model.stats()).cache.usedBlocks).toBe(0)
  })

  it('is itself under any company, with every control', async () => {
    const requests = Array.from({ length: 12 }, (_, i) => ({
      maxTokens: 20,
      temperature: 1,
      seed: i,
      typicalP: i % 3 === 0 ? 0.8 : 1,
      topK: i % 4 === 1 ? 20 : 0,
      repetitionPenalty: i % 2 === 0 ? 1.2 : 1,
      logprobs: i % 5 === 0 ? 3 : undefined,
      logitBias: i % 6 === 0 ? { 3: -5 } : undefined,
    }))
    const alone = []
    for (const request of requests) alone.push(await model.complete(prompt, request))
    const together = await Promise.all(requests.map((request) => model.complete(prompt, request)))
    expect(together.map(({ pieces }) => pieces)).toEqual(alone.map(({ pieces }) => pieces))
  })

  it('has a defined result at the edges', async () => {
    const greedy = (await model.complete(prompt, { maxTokens: 5 })).ids
    for (const edge of [
      { temperature: 1e-30 },
      { temperature: 1, typicalP: 1e-300, topK: 1 },
      { temperature: 1, topP: 1e-300 },
      { temperature: 1000, topK: 1 },
    ])
      expect((await model.complete(prompt, { maxTokens: 5, seed: 1, ...edge })).ids).toEqual(greedy)
  })
})

describe('a model without a tokenizer', () => {
  it('has alternatives without texts, and no constraints', async () => {
    await using model = await loadModel(fixture, { device: 'cpu' })
    const { pieces } = await model.complete([1, 2, 3], { maxTokens: 2, logprobs: 2 })
    expect(pieces[0]!.top).toHaveLength(2)
    await expect(model.complete([1], { constraint: { regex: 'a' } })).rejects.toMatchObject({
      code: 'ERR_UNSUPPORTED',
    })
  })
})
