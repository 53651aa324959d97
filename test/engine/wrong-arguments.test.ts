import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { convertModel, estimateMemory, type LanguageModel, loadModel } from 'kvasir'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { fixture, shakespeare } from './models.js'

// biome-ignore lint/suspicious/noExplicitAny: wrong arguments are the point
type Any = any

/** Of every kind of value some; for most parameters none of them is right. */
const values: [name: string, value: Any][] = [
  ['undefined', undefined],
  ['null', null],
  ['true', true],
  ['0', 0],
  ['1', 1],
  ['-1', -1],
  ['1.5', 1.5],
  ['NaN', Number.NaN],
  ['Infinity', Number.POSITIVE_INFINITY],
  ['2 ** 31', 2 ** 31],
  ['2 ** 53', 2 ** 53],
  ['1n', 1n],
  ['an empty string', ''],
  ['a string', 'text'],
  ['a string with a 0', 'te\0xt'],
  ['half a character', '\ud800'],
  ['a symbol', Symbol('symbol')],
  ['a function', () => 1],
  ['an empty array', []],
  ['an array', [1, 2]],
  ['an array of wrong numbers', [-1, 0.5, 2 ** 40]],
  ['an array with holes', new Array(3)],
  ['an array of all kinds', [null, 'text', {}, Symbol('symbol')]],
  ['an object', { name: 1 }],
  ['an object without a prototype', Object.create(null)],
  ['something like an array', { length: 2, 0: 1, 1: 2 }],
  ['a Map', new Map<Any, Any>([['key', () => 1]])],
  ['floats', Float32Array.of(1.5, 2)],
  ['a DataView', new DataView(new ArrayBuffer(8))],
  ['a buffer', new ArrayBuffer(8)],
  ['a promise', Promise.resolve(1)],
]

/** Calls with each value; what does not succeed fails with a code. */
async function expectTyped(what: string, call: (value: Any) => Any): Promise<void> {
  const ends = values.map(async ([name, value]) => {
    try {
      const result = await call(value)
      await result?.[Symbol.asyncDispose]?.()
    } catch (error) {
      const { code, message } = error as { code?: string; message?: string }
      expect(error, `${what}, ${name}`).toBeInstanceOf(Error)
      expect(String(code), `${what}, ${name}: ${message}`).toMatch(/^ERR_/)
      expect(code, `${what}, ${name}: ${message}`).not.toBe('ERR_INTERNAL')
    }
  })
  await Promise.all(ends)
}

const place = ['priority', 'timeoutMs', 'cacheSalt', 'reusePrefix', 'signal']
const generation = [
  ...place,
  ...['maxTokens', 'temperature', 'topK', 'typicalP', 'topP', 'minP', 'seed', 'stop', 'ignoreEos', 'n'],
  ...['repetitionPenalty', 'presencePenalty', 'frequencyPenalty', 'logitBias', 'logprobs', 'promptLogprobs'],
  ...['constraint', 'speculate', 'beams'],
]
const loading = [
  ...[
    'device',
    'deviceIndex',
    'dtype',
    'cacheDtype',
    'cacheBytes',
    'maxSequences',
    'stepTokens',
    'promptTokens',
  ],
  ...['lookahead', 'threads', 'contextLength', 'onProgress', 'onDownload', 'signal', 'file'],
]

describe('wrong arguments, every one with every value, are errors with a code', () => {
  let model: LanguageModel
  let folder: string
  beforeAll(async () => {
    model = await loadModel(shakespeare, { device: 'cpu' })
    folder = mkdtempSync(join(tmpdir(), 'kvasir-'))
  })
  afterAll(async () => {
    expect((await model.complete('ROMEO:', { maxTokens: 2 })).ids).toHaveLength(2)
    expect(await model.stats()).toMatchObject({ running: 0, waiting: 0, cache: { usedBlocks: 0 } })
    await model.dispose()
    rmSync(folder, { recursive: true, force: true })
  })

  const firstPiece = async (pieces: AsyncIterable<unknown>) => {
    for await (const piece of pieces) return void piece
  }
  const each = (names: readonly string[], call: (options: Any) => Any, given: object = {}) =>
    Promise.all(
      ['options', ...names].map((name) =>
        expectTyped(name, (value) => call(name === 'options' ? value : { ...given, [name]: value })),
      ),
    )

  it.each<[string, (prompt: Any) => Any]>([
    ['generate', (prompt) => firstPiece(model.generate(prompt, { maxTokens: 1 }))],
    ['complete', (prompt) => model.complete(prompt, { maxTokens: 1 })],
    ['nextTokens', (prompt) => model.nextTokens(prompt)],
    ['logits', (prompt) => model.logits(prompt)],
    ['logitLens', (prompt) => model.logitLens(prompt)],
    ['trace', (prompt) => model.trace(prompt, { capture: ['layers.0'] })],
    ['embed', (texts) => model.embed(texts)],
    ['embed [prompt]', (text) => model.embed([text])],
    ['sequence', (ids) => model.sequence(ids)],
    ['tokenize', (text) => model.tokenize(text)],
    ['detokenize', (ids) => model.detokenize(ids)],
    ['chat', (messages) => model.chat(messages).answer()],
    ['chat [message]', (message) => model.chat([message]).answer()],
    ['renderChat', (messages) => model.renderChat(messages)],
    ['loadModel', (path) => loadModel(path)],
    ['estimateMemory', (path) => estimateMemory(path)],
    ['convertModel source', (source) => convertModel(source, join(folder, 'new'), { dtype: 'f32' })],
    ['convertModel target', (target) => convertModel(join(folder, 'not there'), target, { dtype: 'f32' })],
  ])('%s(value)', (name, call) => expectTyped(name, call))

  it('generate and complete(prompt, { option: value })', async () => {
    await each(generation, (options) => firstPiece(model.generate([1], options)), { maxTokens: 1 })
    await each(generation, (options) =>
      model.complete([1], options?.maxTokens ? options : { ...options, maxTokens: 1 }),
    )
  })

  it('what options hold: complete(prompt, { option: { name: value } })', async () => {
    const complete = (options: Any) => model.complete([1], { maxTokens: 1, ...options })
    for (const kind of ['json', 'regex', 'grammar', 'choices'])
      await expectTyped(kind, (value) => complete({ constraint: { [kind]: value } }))
    for (const keyword of [
      'type',
      'properties',
      'required',
      'items',
      'enum',
      'const',
      'pattern',
      'anyOf',
      '$ref',
      'minItems',
    ])
      await expectTyped(keyword, (value) => complete({ constraint: { json: { [keyword]: value } } }))
    await expectTyped('stop', (value) => complete({ stop: [value] }))
    await expectTyped('logitBias', (value) => complete({ logitBias: { 1: value } }))
    await expectTyped('logitBias', (value) => complete({ logitBias: new Map([[value, 1]]) }))
    await expectTyped('tools', (value) =>
      model.renderChat([{ role: 'user', content: '' }], { tools: [value] }),
    )
  })

  it('nextTokens, logits, embed, trace and logitLens(prompt, { option: value })', async () => {
    await each([...place, 'top'], (options) => model.nextTokens([1], options))
    await each(place, (options) => model.logits([1], options))
    await each([...place, 'pooling', 'normalize'], (options) => model.embed([[1]], options))
    await each([...place, 'capture'], (options) => model.trace([1], options), { capture: ['layers.0'] })
    await each([...place, 'top'], (options) => model.logitLens([1], options))
  })

  it('tokenize and chat(value, { option: value })', async () => {
    await each(['addSpecialTokens'], (options) => model.tokenize('text', options))
    const messages = [{ role: 'user', content: 'Hello' }] as const
    await each(['tools', 'template', 'variables'], (options) => model.chat(messages, options).answer())
    const names = ['tools', 'template', 'variables', 'addGenerationPrompt']
    await each(names, (options) => model.renderChat(messages, options))
    for (const key of ['role', 'content', 'toolCalls', 'name'])
      await expectTyped(key, (value) => model.renderChat([{ ...messages[0], [key]: value } as Any]))
  })

  it('the methods of a sequence', async () => {
    await using sequence = await model.sequence([1, 2, 3])
    await expectTyped('append', (ids) => sequence.append(ids))
    await each(['signal'], (options) => sequence.append([1], options))
    await each(['signal'], (options) => sequence.logits(options))
    await expectTyped('truncate', (length) => sequence.truncate(length))
  })

  it('loadModel and estimateMemory(folder, { option: value })', async () => {
    await each(loading, async (options) => (await loadModel(fixture, options)).dispose(), { device: 'cpu' })
    await each(loading, (options) => estimateMemory(fixture, options), { device: 'cpu' })
  })

  it('convertModel(source, target, { option: value }), which leaves nothing half done', async () => {
    let number = 0
    const target = () => join(folder, `${number++}`)
    const names = ['dtype', 'threads', 'signal', 'onProgress']
    await each(names, (options) => convertModel(fixture, target(), options), { dtype: 'f16' })
    expect(readdirSync(folder).filter((name) => name.endsWith('.unfinished'))).toEqual([])
  })
})
