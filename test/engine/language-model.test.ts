import { type LanguageModel, loadModel, type Piece } from 'kvasir'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { fixture, shakespeare } from './models.js'

const prompt = 'ROMEO:\nO, '

describe('a model with a tokenizer', () => {
  let model: LanguageModel
  beforeAll(async () => {
    model = await loadModel(shakespeare)
  })
  afterAll(() => model.dispose())

  const collect = async (pieces: AsyncIterable<Piece>) => {
    const all: Piece[] = []
    for await (const piece of pieces) all.push(piece)
    return all
  }

  it('streams what complete returns', async () => {
    const options = { maxTokens: 60, temperature: 0.9, seed: 7 }
    const pieces = await collect(model.generate(prompt, options))
    const { text, ids, finishReason, usage } = await model.complete(prompt, options)
    expect(pieces.map((piece) => piece.text).join('')).toBe(text)
    expect(pieces.map((piece) => piece.id)).toEqual(ids)
    expect(finishReason).toBe('length')
    expect(usage.completionTokens).toBe(60)
    expect(usage.promptTokens).toBe((await model.tokenize(prompt)).length)
    expect(text).toBe(await model.detokenize(ids))
  })

  it('draws the same with the same seed, and others with another', async () => {
    const draw = async (seed?: number) =>
      (await model.complete(prompt, { maxTokens: 40, temperature: 1, seed })).ids
    const first = await draw(2 ** 53 - 1)
    expect(await draw(2 ** 53 - 1)).toEqual(first)
    expect(await draw(1)).not.toEqual(first)
    expect(await draw()).not.toEqual(await draw())
  })

  it('takes the likeliest token at temperature 0, and with topK 1, and with a tiny topP', async () => {
    const greedy = (await model.complete(prompt, { maxTokens: 20 })).ids
    expect((await model.complete(prompt, { maxTokens: 20, temperature: 1, topK: 1 })).ids).toEqual(greedy)
    expect((await model.complete(prompt, { maxTokens: 20, temperature: 1, topP: 1e-6 })).ids).toEqual(greedy)
    expect((await model.complete(prompt, { maxTokens: 20, temperature: 1, minP: 1 })).ids).toEqual(greedy)
    const [best] = await model.nextTokens(prompt, { top: 1 })
    expect(best!.id).toBe(greedy[0])
  })

  it('reports the log probability of each token', async () => {
    const ids = await model.tokenize(prompt)
    const [piece] = await collect(model.generate(prompt, { maxTokens: 1, temperature: 2, seed: 3 }))
    const row = (await model.logits(ids)).data.slice((ids.length - 1) * model.vocabSize)
    const most = Math.max(...row)
    const total = row.reduce((sum, x) => sum + Math.exp(x - most), 0)
    expect(piece!.logprob).toBeCloseTo(row[piece!.id]! - most - Math.log(total), 4)
  })

  it('gives a distribution over next tokens', async () => {
    const all = await model.nextTokens(prompt, { top: model.vocabSize })
    expect(all).toHaveLength(model.vocabSize)
    expect(all.reduce((sum, token) => sum + token.probability, 0)).toBeCloseTo(1, 4)
    expect(all.map((token) => token.probability)).toEqual(
      all.map((token) => token.probability).toSorted((a, b) => b - a),
    )
    expect(new Set(all.map((token) => token.id)).size).toBe(model.vocabSize)
    for (const { text, logprob, probability } of all.slice(0, 5)) {
      expect(text).not.toBe('')
      expect(logprob).toBeCloseTo(Math.log(probability), 6)
    }
  })

  it('ends before a stop string, wherever token boundaries are', async () => {
    const { text } = await model.complete(prompt, { maxTokens: 80 })
    for (const stop of [text.slice(20, 23), text.slice(31, 40), text.slice(10, 11)]) {
      const stopped = await model.complete(prompt, { maxTokens: 80, stop })
      expect(stopped.text).toBe(text.slice(0, text.indexOf(stop)))
      expect(stopped.finishReason).toBe('stop')
      const pieces = await collect(model.generate(prompt, { maxTokens: 80, stop: ['never there', stop] }))
      expect(pieces.map((piece) => piece.text).join('')).toBe(stopped.text)
    }
    const unmet = await model.complete(prompt, { maxTokens: 80, stop: `${text.slice(-6)}@@` })
    expect(unmet.text).toBe(text)
    expect(unmet.finishReason).toBe('length')
  })

  it('ends where the context is full', async () => {
    const ids = Array.from({ length: model.contextLength }, (_, i) => (i * 31) % 300)
    const full = await model.complete(ids, { maxTokens: 50 })
    expect(full.ids).toHaveLength(1)
    expect(full.finishReason).toBe('length')
    const nearly = await model.complete(ids.slice(0, -3), { maxTokens: 50 })
    expect(nearly.ids).toHaveLength(4)
    await expect(model.complete([...ids, 1])).rejects.toMatchObject({
      name: 'ContextFullError',
      code: 'ERR_CONTEXT_FULL',
    })
  })

  it('answers calls made at the same time as if each were alone', async () => {
    const options = { maxTokens: 30, temperature: 1, seed: 5 }
    const prompts = ['ROMEO:', 'JULIET:\nWhat', 'First Citizen:\n', prompt]
    const alone = []
    for (const text of prompts) alone.push((await model.complete(text, options)).ids)
    const together = await Promise.all(prompts.map((text) => model.complete(text, options)))
    expect(together.map((result) => result.ids)).toEqual(alone)
  })

  it('never takes text for a special token', async () => {
    const ids = await model.tokenize('<s></s><|endoftext|>')
    expect(await model.detokenize(ids)).toBe('<s></s><|endoftext|>')
  })

  it('shows its files through info', () => {
    expect(model.info).toMatchObject({ hasTokenizer: true })
    expect(model.info.weightBytes).toBeGreaterThan(1e6)
    expect(model.config.model_type).toBe('llama')
  })
})

describe('a model without a tokenizer', () => {
  it('takes ids, and says so when it gets text', async () => {
    await using model = await loadModel(fixture)
    const { ids, text } = await model.complete([1, 2, 3], { maxTokens: 4 })
    expect(ids).toHaveLength(4)
    expect(text).toBe('')
    await expect(model.complete('text')).rejects.toMatchObject({
      name: 'RangeError',
      message: 'generate: prompt must be token ids, since the model has no tokenizer, got "text"',
    })
    await expect(model.tokenize('text')).rejects.toMatchObject({ code: 'ERR_UNSUPPORTED' })
  })

  it('gives the same bits for any number of threads', async () => {
    const prompt = Array.from({ length: 50 }, (_, i) => (i * 13) % 71)
    const results = []
    for (const threads of [1, 2, 3]) {
      await using model = await loadModel(fixture, { threads })
      expect(model.info.threads).toBe(threads)
      results.push((await model.logits(prompt)).data)
    }
    expect(results[1]).toEqual(results[0])
    expect(results[2]).toEqual(results[0])
  })

  it.each(['f16', 'bf16'] as const)('holds its weights as %s', async (dtype) => {
    await using exact = await loadModel(fixture)
    await using narrow = await loadModel(fixture, { dtype })
    expect(narrow.info.weightBytes).toBeLessThan(0.6 * exact.info.weightBytes)
    const [a, b] = [(await exact.logits([1, 2, 3])).data, (await narrow.logits([1, 2, 3])).data]
    const off = Math.sqrt(
      a.reduce((sum, x, i) => sum + (x - b[i]!) ** 2, 0) / a.reduce((sum, x) => sum + x ** 2, 0),
    )
    expect(off).toBeGreaterThan(0)
    expect(off).toBeLessThan(dtype === 'f16' ? 2e-3 : 2e-2)
  })

  it('caches in bf16 when asked to', async () => {
    await using exact = await loadModel(fixture)
    await using narrow = await loadModel(fixture, { cacheDtype: 'bf16', contextLength: 33 })
    expect(narrow.contextLength).toBe(33)
    expect(narrow.info.cacheBytes * 2).toBe(exact.info.cacheBytes)
    const [a, b] = [(await exact.logits([1, 2, 3])).data, (await narrow.logits([1, 2, 3])).data]
    expect(Math.max(...a.map((x, i) => Math.abs(x - b[i]!)))).toBeLessThan(0.1)
    expect(a).not.toEqual(b)
  })

  it('reports progress up to the end', async () => {
    const seen: { loadedBytes: number; totalBytes: number }[] = []
    await using _model = await loadModel(fixture, { onProgress: (progress) => void seen.push(progress) })
    expect(seen.length).toBeGreaterThan(0)
    expect(seen.at(-1)!.loadedBytes).toBe(seen.at(-1)!.totalBytes)
  })
})
