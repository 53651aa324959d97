import { execFileSync } from 'node:child_process'
import { mkdirSync, truncateSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { CheckpointError } from '#kvasir/errors.js'
import { loadTokenizer } from '#kvasir/tokenizer/index.js'
import {
  addedToken,
  byteFallbackJson,
  byteLevelJson,
  charactersJson,
  type Json,
  llamaConfig,
  loadJson,
  withFolder,
} from './tiny-tokenizers.js'

async function problemOf(load: Promise<unknown>): Promise<CheckpointError> {
  const error = await load.then(
    () => null,
    (reason: unknown) => reason,
  )
  expect(error).toBeInstanceOf(CheckpointError)
  return error as CheckpointError
}

describe('files', () => {
  it('that are missing make no tokenizer', async () => {
    expect(await withFolder({}, loadTokenizer)).toBeNull()
    expect(await loadTokenizer(join(tmpdir(), 'kvasir-no-such-folder'))).toBeNull()
  })

  it('without a tokenizer_config.json name no BOS and EOS', async () => {
    const tokenizer = await loadJson(byteLevelJson())
    expect([tokenizer.bosId, tokenizer.eosId]).toEqual([null, null])
  })

  it.each([
    ['empty', ''],
    ['no JSON', '{"model": '],
    ['two values', '{} {}'],
    ['no UTF-8', Uint8Array.of(0x22, 0xff, 0x22)],
    ['an array', '[]'],
    ['null', 'null'],
    ['a number', '5'],
  ])('that are malformed are named: %s', async (_, content) => {
    for (const name of ['tokenizer.json', 'tokenizer_config.json']) {
      const error = await problemOf(
        withFolder({ 'tokenizer.json': byteLevelJson(), [name]: content }, loadTokenizer),
      )
      expect(error.code).toBe('ERR_FILE_FORMAT')
      expect(error.problem.file).toMatch(new RegExp(`${name}$`))
      expect(error.message).toContain(name)
    }
  })

  it('that are too big are not read', async () => {
    const error = await problemOf(
      withFolder({ 'tokenizer.json': '' }, (folder) => {
        truncateSync(join(folder, 'tokenizer.json'), 2 ** 26 + 1)
        return loadTokenizer(folder)
      }),
    )
    expect(error.message).toContain('must be at most 67108864 bytes, got 67108865')
  })

  it('that are folders or pipes are refused', async () => {
    const load = (make: (file: string) => void) =>
      withFolder({}, (folder) => {
        make(join(folder, 'tokenizer.json'))
        return loadTokenizer(folder)
      })
    expect((await problemOf(load(mkdirSync))).message).toContain('a regular file')
    if (process.platform !== 'win32') {
      expect((await problemOf(load((file) => execFileSync('mkfifo', [file])))).message).toContain(
        'a regular file',
      )
    }
  })
})

/** Changes a tokenizer: what to do, the field at fault, and the code of the error. */
type Case = [string, (json: Json) => void, string, string?]

const cases: Case[] = [
  ['no model', (j) => delete j.model, 'model'],
  ['a model that is text', (j) => (j.model = 'BPE'), 'model'],
  ['an unknown model', (j) => (j.model.type = 'Unigram'), 'model.type', 'ERR_UNSUPPORTED'],
  ['a type that is no text', (j) => (j.model.type = {}), 'model.type'],
  ['no type and no merges', (j) => (j.model = { vocab: { a: 0 } }), 'model.type'],
  ['no vocabulary', (j) => delete j.model.vocab, 'model.vocab'],
  ['a list of tokens', (j) => (j.model.vocab = [['a', 0]]), 'model.vocab'],
  ['an empty vocabulary', (j) => Object.assign(j, charactersJson([]), { added_tokens: [] }), 'model.vocab'],
  ['a negative id', (j) => (j.model.vocab.hello = -1), 'model.vocab["hello"]'],
  ['a fractional id', (j) => (j.model.vocab.hello = 1.5), 'model.vocab["hello"]'],
  ['an id beyond 2^31', (j) => (j.model.vocab.hello = 2 ** 32), 'model.vocab["hello"]'],
  ['a huge id', (j) => (j.model.vocab.hello = 2 ** 24), 'model.vocab["hello"]'],
  ['an id as text', (j) => (j.model.vocab.hello = '259'), 'model.vocab["hello"]'],
  ['no id', (j) => (j.model.vocab.hello = null), 'model.vocab["hello"]'],
  ['an id twice', (j) => (j.model.vocab.again = 259), 'model.vocab["again"]'],
  ['half a character', (j) => (j.model.vocab['\ud83d'] = 300), 'model.vocab["\\ud83d"]'],
  ['no merges', (j) => (j.model.merges = null), 'model.merges'],
  ['merges by name', (j) => (j.model.merges = {}), 'model.merges'],
  ['a merge of one', (j) => (j.model.merges[2] = 'hello'), 'model.merges[2]'],
  ['a merge of three', (j) => (j.model.merges[2] = 'h e l'), 'model.merges[2]'],
  ['a merge of numbers', (j) => (j.model.merges[2] = [1, 2]), 'model.merges[2]'],
  ['an empty merge', (j) => (j.model.merges[2] = []), 'model.merges[2]'],
  ['a merge of unknown tokens', (j) => (j.model.merges[2] = 'he zzz'), 'model.merges[2]'],
  ['a merge to an unknown token', (j) => (j.model.merges[2] = 'o o'), 'model.merges[2]'],
  ['an unknown unk_token', (j) => (j.model.unk_token = '<unk>'), 'model.unk_token'],
  [
    'a prefix',
    (j) => (j.model.continuing_subword_prefix = '##'),
    'model.continuing_subword_prefix',
    'ERR_UNSUPPORTED',
  ],
  ['a suffix', (j) => (j.model.end_of_word_suffix = '</w>'), 'model.end_of_word_suffix', 'ERR_UNSUPPORTED'],
  ['a flag as text', (j) => (j.model.byte_fallback = 'no'), 'model.byte_fallback'],
  ['added tokens by name', (j) => (j.added_tokens = {}), 'added_tokens'],
  ['an added token that is text', (j) => (j.added_tokens[1] = '<s>'), 'added_tokens[1]'],
  ['an added token without id', (j) => delete j.added_tokens[1].id, 'added_tokens[1].id'],
  ['an added token with a huge id', (j) => (j.added_tokens[1].id = 2 ** 31), 'added_tokens[1].id'],
  ['an empty added token', (j) => (j.added_tokens[1].content = ''), 'added_tokens[1].content'],
  ['a long added token', (j) => (j.added_tokens[1].content = 'a'.repeat(2000)), 'added_tokens[1].content'],
  ['an added token twice', (j) => j.added_tokens.push(addedToken(300, '<think>')), 'added_tokens[3].content'],
  ['an id of two added tokens', (j) => j.added_tokens.push(addedToken(269, '<b>')), 'added_tokens[3].id'],
  ['another id than the model', (j) => j.added_tokens.push(addedToken(300, 'hello')), 'added_tokens[3].id'],
  [
    'an unknown normalizer',
    (j) => (j.normalizer = { type: 'Precompiled' }),
    'normalizer.type',
    'ERR_UNSUPPORTED',
  ],
  ['a normalizer of no type', (j) => (j.normalizer = {}), 'normalizer.type'],
  ['a normalizer that is text', (j) => (j.normalizer = 'NFC'), 'normalizer'],
  [
    'a type of every object',
    (j) => (j.normalizer = { type: 'constructor' }),
    'normalizer.type',
    'ERR_UNSUPPORTED',
  ],
  ['a sequence of nothing', (j) => (j.normalizer = { type: 'Sequence' }), 'normalizer.normalizers'],
  [
    'a step of a sequence',
    (j) => (j.normalizer = { type: 'Sequence', normalizers: [{ type: 'NFC' }, { type: 'Prepend' }] }),
    'normalizer.normalizers[1].prepend',
  ],
  [
    'a long sequence',
    (j) => (j.normalizer = { type: 'Sequence', normalizers: Array(65).fill({ type: 'NFC' }) }),
    'normalizer.normalizers',
  ],
  [
    'a deep sequence',
    (j) => (j.normalizer = nest(1000)),
    `normalizer${'.normalizers[0]'.repeat(64)}.normalizers`,
  ],
  [
    'a pattern of no kind',
    (j) => (j.normalizer = { type: 'Replace', pattern: {}, content: '' }),
    'normalizer.pattern.String',
  ],
  [
    'a wrong pattern',
    (j) => (j.pre_tokenizer = { type: 'Split', pattern: { Regex: '(' }, behavior: 'Isolated' }),
    'pre_tokenizer.pattern.Regex',
    'ERR_UNSUPPORTED',
  ],
  [
    'a long pattern',
    (j) =>
      (j.pre_tokenizer = { type: 'Split', pattern: { Regex: 'a'.repeat(10_000) }, behavior: 'Isolated' }),
    'pre_tokenizer.pattern.Regex',
  ],
  [
    'an unknown behavior',
    (j) => (j.pre_tokenizer = { type: 'Split', pattern: { String: 'a' }, behavior: 'Kept' }),
    'pre_tokenizer.behavior',
    'ERR_UNSUPPORTED',
  ],
  [
    'a long replacement',
    (j) => (j.pre_tokenizer = { type: 'Metaspace', replacement: '__' }),
    'pre_tokenizer.replacement',
  ],
  [
    'an unknown pre-tokenizer',
    (j) => (j.pre_tokenizer.type = 'Bert'),
    'pre_tokenizer.type',
    'ERR_UNSUPPORTED',
  ],
  [
    'an unknown post-processor',
    (j) => (j.post_processor.type = 'X'),
    'post_processor.type',
    'ERR_UNSUPPORTED',
  ],
  [
    'a template without text',
    (j) => (j.post_processor = { type: 'TemplateProcessing', single: [] }),
    'post_processor.single',
  ],
  [
    'a template with an unknown token',
    (j) =>
      (j.post_processor = {
        type: 'TemplateProcessing',
        single: [{ SpecialToken: { id: 's' } }],
        special_tokens: {},
      }),
    'post_processor.special_tokens.s',
  ],
  [
    'a template with an id out of range',
    (j) =>
      (j.post_processor = {
        type: 'TemplateProcessing',
        single: [{ SpecialToken: { id: 's' } }],
        special_tokens: { s: { ids: [5000] } },
      }),
    'post_processor.special_tokens.s.ids[0]',
  ],
  [
    'a classifier token out of range',
    (j) => (j.post_processor = { type: 'BertProcessing', cls: ['a', 0], sep: ['b', -1] }),
    'post_processor.sep[1]',
  ],
  ['an unknown decoder', (j) => (j.decoder.type = 'CTC'), 'decoder.type', 'ERR_UNSUPPORTED'],
  [
    'a strip of a word',
    (j) => (j.decoder = { type: 'Strip', content: 'ab', start: 1, stop: 0 }),
    'decoder.content',
  ],
  [
    'a long strip',
    (j) => (j.decoder = { type: 'Strip', content: 'a', start: 1e9, stop: 0 }),
    'decoder.start',
  ],
]

function nest(depth: number): Json {
  let json: Json = { type: 'NFC' }
  for (let i = 0; i < depth; i++) json = { type: 'Sequence', normalizers: [json] }
  return json
}

describe('a tokenizer.json with', () => {
  it.each(cases)('%s', async (_, change, field, code = 'ERR_FILE_FORMAT') => {
    const json = byteLevelJson()
    change(json)
    const error = await problemOf(loadJson(json))
    expect(error.problem.field).toBe(field)
    expect(error.code).toBe(code)
    expect(error.message).toContain(`tokenizer.json: ${field} must be `)
    expect(error.problem.expected).toBeTruthy()
    expect(error.problem.found).toBeTruthy()
  })

  it('changed values anywhere either loads or is a CheckpointError', async () => {
    const jsons = [byteLevelJson(), byteFallbackJson()]
    const value = fc.oneof(
      fc.jsonValue(),
      fc.constantFrom(undefined, null, -1, 2 ** 31, '', {}, [], 'Sequence'),
    )
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...jsons),
        fc.infiniteStream(fc.nat(20)),
        value,
        async (json, path, any) => {
          const changed = structuredClone(json)
          replaceAt(changed, path, any)
          const error = await loadJson(changed).then(
            (tokenizer) => tokenizer.decode(tokenizer.encode('hello é <s>')) && null,
            (reason: unknown) => reason,
          )
          if (error !== null) expect(error).toBeInstanceOf(CheckpointError)
        },
      ),
      { numRuns: 500 },
    )
  })
})

/** Replaces one value: at each level, takes the key that the path picks. */
function replaceAt(json: Json, path: Iterator<number>, value: Json): void {
  for (let parent = json; ; ) {
    const keys = Object.keys(parent)
    const key = keys[path.next().value % keys.length]!
    const child = parent[key]
    const ends = typeof child !== 'object' || child === null || Object.keys(child).length === 0
    if (ends || path.next().value === 0) {
      parent[key] = value
      return
    }
    parent = child
  }
}

describe('a tokenizer_config.json with', () => {
  it.each([
    ['an unknown BOS', { bos_token: '<bos>' }, 'bos_token'],
    ['a BOS that is a number', { bos_token: 1 }, 'bos_token'],
    ['an EOS without content', { eos_token: {} }, 'eos_token.content'],
    ['no BOS to add', { add_bos_token: true }, 'bos_token'],
    ['no EOS to add', { add_eos_token: true, eos_token: null }, 'eos_token'],
    ['a flag as text', { ...llamaConfig, add_bos_token: 'yes' }, 'add_bos_token'],
  ])('%s', async (_, config, field) => {
    const error = await problemOf(loadJson(byteFallbackJson(), config))
    expect(error.code).toBe('ERR_FILE_FORMAT')
    expect(error.problem.field).toBe(field)
    expect(error.message).toContain('tokenizer_config.json: ')
  })
})

describe('names of object properties', () => {
  it('are tokens like any other', async () => {
    const json = charactersJson([])
    const contents = ['__proto__', 'constructor', 'toString', 'p', 'hasOwnProperty']
    // An object literal would set its prototype instead.
    json.model.vocab = JSON.parse(`{${contents.map((content, id) => `"${content}":${id}`).join(',')}}`)
    json.added_tokens = ['__proto__', 'toString'].map((content) =>
      addedToken(contents.indexOf(content), content),
    )
    json.decoder = { type: 'Fuse' }
    const tokenizer = await loadJson(json)
    expect(tokenizer.vocabSize).toBe(5)
    expect(tokenizer.encode('p__proto__toStringp')).toEqual([3, 0, 2, 3])
    expect(tokenizer.decode([0, 1, 4])).toBe('__proto__constructorhasOwnProperty')
    expect(({} as Json).model).toBeUndefined()
  })

  it('do not stand for missing fields', async () => {
    const error = await problemOf(
      withFolder({ 'tokenizer.json': '{"__proto__":{"model":{}}}' }, loadTokenizer),
    )
    expect(error.problem.field).toBe('model')
  })
})
