import { type LanguageModel, loadModel } from 'kvasir'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { fixture } from './models.js'

// biome-ignore lint/suspicious/noExplicitAny: wrong arguments are the point
type Any = any

describe('wrong arguments are typed errors with a code', () => {
  let model: LanguageModel
  beforeAll(async () => {
    model = await loadModel(fixture)
  })
  afterAll(() => model.dispose())

  const typeError = { name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' }
  const rangeError = { name: 'RangeError', code: 'ERR_INVALID_ARG_VALUE' }

  it.each<[Any, object]>([
    [{ maxTokens: '5' }, typeError],
    [{ maxTokens: 0 }, rangeError],
    [{ maxTokens: 1.5 }, rangeError],
    [{ maxTokens: Number.NaN }, rangeError],
    [{ temperature: -1 }, rangeError],
    [{ temperature: Number.POSITIVE_INFINITY }, rangeError],
    [{ temperature: null }, typeError],
    [{ topK: -1 }, rangeError],
    [{ topK: 2 ** 31 }, rangeError],
    [{ topP: 0 }, rangeError],
    [{ topP: 1.01 }, rangeError],
    [{ minP: -0.1 }, rangeError],
    [{ seed: -1 }, rangeError],
    [{ seed: 2 ** 53 }, rangeError],
    [{ seed: 1n }, typeError],
    [{ stop: 5 }, typeError],
    [{ stop: [5] }, typeError],
    [{ stop: '' }, rangeError],
    [{ stop: Array(65).fill('x') }, rangeError],
    [{ ignoreEos: 1 }, typeError],
    [{ signal: {} }, typeError],
    [null, typeError],
    [[], typeError],
    ['options', typeError],
  ])('generate(prompt, options), case %#', async (options, expected) => {
    await expect(model.complete([1], options)).rejects.toMatchObject(expected)
    expect(() => model.generate([1], options)).toThrowError(expect.objectContaining(expected))
  })

  it.each<[Any, object]>([
    [undefined, typeError],
    [null, typeError],
    [5, typeError],
    [{}, typeError],
    [['1'], typeError],
    [[1n], typeError],
    [[], rangeError],
    ['', rangeError],
    [[-1], rangeError],
    [[71], rangeError],
    [[0.5], rangeError],
    [[Number.NaN], rangeError],
    [[2 ** 40], rangeError],
  ])('prompt, case %#', async (prompt, expected) => {
    await expect(model.complete(prompt)).rejects.toMatchObject(expected)
    await expect(model.nextTokens(prompt)).rejects.toMatchObject(expected)
    await expect(model.logits(prompt)).rejects.toMatchObject(expected)
  })

  it.each<[Any, object]>([
    [{ dtype: 'q3' }, rangeError],
    [{ dtype: 5 }, typeError],
    [{ cacheDtype: 'f64' }, rangeError],
    [{ device: 'gpu' }, rangeError],
    [{ deviceIndex: -1 }, rangeError],
    [{ lookahead: 0 }, rangeError],
    [{ lookahead: 257 }, rangeError],
    [{ threads: 0 }, rangeError],
    [{ threads: 5000 }, rangeError],
    [{ contextLength: 0 }, rangeError],
    [{ onProgress: 5 }, typeError],
    [{ signal: 5 }, typeError],
    [5, typeError],
  ])('loadModel(folder, options), case %#', async (options, expected) => {
    await expect(loadModel(fixture, options)).rejects.toMatchObject(expected)
  })

  it('loadModel of what is no folder', async () => {
    await expect(loadModel(undefined as Any)).rejects.toMatchObject(typeError)
    await expect(loadModel('no/such/folder')).rejects.toMatchObject({
      name: 'CheckpointError',
      code: 'ERR_FILE_NOT_FOUND',
    })
  })

  it('nextTokens and detokenize', async () => {
    await expect(model.nextTokens([1], { top: 0 })).rejects.toMatchObject(rangeError)
    await expect(model.nextTokens([1], { top: 'all' } as Any)).rejects.toMatchObject(typeError)
    expect(await model.nextTokens([1], { top: 10_000 })).toHaveLength(71)
    await expect(model.detokenize('text' as Any)).rejects.toMatchObject(typeError)
    await expect(model.tokenize(5 as Any)).rejects.toMatchObject(typeError)
  })

  it('names the argument, what it must be and what it is', async () => {
    await expect(model.complete([1], { topP: 2 })).rejects.toThrow(
      'complete: topP must be above 0 and at most 1, got 2',
    )
  })
})
