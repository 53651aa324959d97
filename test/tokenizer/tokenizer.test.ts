import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  addedToken,
  byteFallbackJson,
  byteLevelJson,
  charactersJson,
  endOfText,
  llamaConfig,
  loadJson,
  startOfTurn,
} from './tiny-tokenizers.js'

const utf8 = new TextEncoder()

/** Text with everything that tokenizers stumble over, special tokens among it. */
const anyText = fc
  .array(
    fc.oneof(
      fc.string({ unit: 'grapheme' }),
      fc.string({ unit: 'binary' }),
      fc.constantFrom('hello', ' world', '  ', '\r\n', '▁', '\u0085', '\ufeff', '<think>', '<0x0A>'),
      fc.constantFrom('<|endoftext|>', '<|turn|>', '</s>', '<s>', '<unk>', '__proto__', '👨‍👩‍👧'),
    ),
    { maxLength: 8 },
  )
  .map((parts) => parts.join(''))

describe('encode, byte-level', async () => {
  const tokenizer = await loadJson(byteLevelJson(), {
    bos_token: '<|endoftext|>',
    eos_token: '<|endoftext|>',
  })

  it('merges by rank', () => {
    expect(tokenizer.encode('hello world')).toEqual([259, 265])
    expect(tokenizer.encode('hellll')).toEqual([258, 257])
    expect(tokenizer.encode(' hello')).toEqual([260])
    expect(tokenizer.encode('')).toEqual([])
  })

  it('knows its tokens', () => {
    expect(tokenizer.vocabSize).toBe(270)
    expect(tokenizer.bosId).toBe(endOfText)
    expect(tokenizer.eosId).toBe(endOfText)
    expect([259, endOfText, startOfTurn, 269].map((id) => tokenizer.isSpecial(id))).toEqual([
      false,
      true,
      true,
      false,
    ])
  })

  it('reads special tokens in a text only when asked to', () => {
    const text = 'hello<|endoftext|><|turn|><think>'
    expect(tokenizer.encode(text, { parseSpecialTokens: true })).toEqual([259, endOfText, startOfTurn, 269])
    const plain = tokenizer.encode(text)
    expect(plain.filter((id) => tokenizer.isSpecial(id))).toEqual([])
    expect(plain.at(-1)).toBe(269)
    expect(tokenizer.decode(plain)).toBe(text)
  })

  it('never makes a special token of text, and gives the text back', () => {
    fc.assert(
      fc.property(anyText, (text) => {
        const ids = tokenizer.encode(text)
        expect(ids.some((id) => tokenizer.isSpecial(id))).toBe(false)
        expect(tokenizer.decode(ids)).toBe(text)
      }),
    )
  })

  it('takes a lone surrogate for U+FFFD', () => {
    const replacement = [...utf8.encode('\ufffd')]
    expect(tokenizer.encode('\ud83d')).toEqual(replacement)
    expect(tokenizer.encode('\ude00\ud83dx')).toEqual([...replacement, ...replacement, 120])
    expect(tokenizer.encode('😀')).toEqual([266, 0x98, 0x80])
  })

  it('takes a lone surrogate for the token of U+FFFD where there is one', async () => {
    const characters = await loadJson(charactersJson(['a', '\ufffd']))
    expect(characters.encode('a\ud83da')).toEqual([0, 1, 0])
  })

  it('refuses wrong arguments', () => {
    expect(() => tokenizer.encode(5 as never)).toThrow('encode: text must be a string, got 5')
    const tooLong = 'a'.repeat(2 ** 24 + 1)
    expect(() => tokenizer.encode(tooLong)).toThrow(RangeError)
    expect(() => tokenizer.encode('字'.repeat(2 ** 24))).toThrow(
      expect.objectContaining({ code: 'ERR_INVALID_ARG_VALUE' }),
    )
  })

  it('keeps the words of one text from another', () => {
    // The cache must not hand out what a caller can change.
    const first = tokenizer.encode('h')
    first.push(1)
    expect(tokenizer.encode('h')).toEqual([104])
  })
})

describe('encode, byte fallback', async () => {
  const tokenizer = await loadJson(byteFallbackJson(), llamaConfig)
  const idsOf = (bytes: Uint8Array) => [...bytes].map((byte) => byte + 3)

  it('adds BOS and the space before the first word', () => {
    const { vocab } = byteFallbackJson().model
    expect(tokenizer.encode('hello')).toEqual([1, vocab['▁hello']])
    expect(tokenizer.encode('hello', { addSpecialTokens: false })).toEqual([vocab['▁hello']])
    expect(tokenizer.encode('')).toEqual([1])
    expect(tokenizer.encode('', { addSpecialTokens: false })).toEqual([])
  })

  it('writes characters without a token in bytes', () => {
    const ids = tokenizer.encode('é😀', { addSpecialTokens: false })
    const { vocab } = byteFallbackJson().model
    expect(ids).toEqual([vocab['▁'], vocab.é, ...idsOf(utf8.encode('😀'))])
  })

  it('never makes a special token of text, though merges would, and gives the text back', () => {
    const text = '</s> <s> <unk>'
    const plain = tokenizer.encode(text, { addSpecialTokens: false })
    expect(plain.filter((id) => tokenizer.isSpecial(id))).toEqual([])
    expect(tokenizer.decode(plain)).toBe(text)
    expect(tokenizer.encode('</s>', { parseSpecialTokens: true })).toEqual([1, 2])
    fc.assert(
      fc.property(anyText, (any) => {
        const ids = tokenizer.encode(any, { addSpecialTokens: false })
        expect(ids.some((id) => tokenizer.isSpecial(id))).toBe(false)
        // This vocabulary writes the space as "▁", so that one of the two is lost.
        expect(tokenizer.decode(ids)).toBe(any.replaceAll('▁', ' '))
      }),
    )
  })

  it('encodes a long text word by word as it does whole', async () => {
    // With a token that spans a space, texts cannot be cut at spaces.
    const json = byteFallbackJson()
    json.model.vocab['s▁'] = 500
    json.model.merges.push(['s', '▁'])
    const whole = await loadJson(json, llamaConfig)
    const word = fc.constantFrom('hello', ' ', '  ', 'we', 'é', '日', '</s>', 'hell', '\n')
    fc.assert(
      fc.property(fc.array(word), (words) => {
        const text = words.join('')
        expect(tokenizer.encode(text)).toEqual(whole.encode(text))
      }),
    )
    expect(whole.encode('s s')).toContain(500)
  })
})

describe('added tokens', () => {
  const load = (tokens: unknown[]) =>
    loadJson({ ...charactersJson([...'abcxyz <>é']), added_tokens: tokens, decoder: { type: 'Fuse' } })

  it('are found longest first', async () => {
    const tokenizer = await load([addedToken(20, 'ab'), addedToken(21, 'abc'), addedToken(22, 'bb')])
    expect(tokenizer.encode('abcabbbb')).toEqual([21, 20, 22, 1])
  })

  it('that are single words have no word characters beside them', async () => {
    const tokenizer = await load([addedToken(20, 'ab', { single_word: true })])
    expect(tokenizer.encode('ab abc xab <ab>')).toEqual([20, 6, 0, 1, 2, 6, 3, 0, 1, 6, 7, 20, 8])
    expect(tokenizer.encode('éab')).toEqual([9, 0, 1])
  })

  it('take the white space around them along', async () => {
    const tokenizer = await load([
      addedToken(20, '[', { lstrip: true }),
      addedToken(21, ']', { rstrip: true }),
    ])
    expect(tokenizer.encode('a  [ b ]  c')).toEqual([0, 20, 6, 1, 6, 21, 2])
  })

  it('that are normalized are found in the normalized text', async () => {
    const json = {
      ...charactersJson([...'abc']),
      normalizer: { type: 'Lowercase' },
      added_tokens: [addedToken(20, 'AB', { normalized: true }), addedToken(21, 'C')],
    }
    const tokenizer = await loadJson(json)
    expect(tokenizer.encode('ABabaBcC')).toEqual([20, 20, 20, 2, 21])
  })

  it('leave only the text before them at the start', async () => {
    const json = {
      ...charactersJson([...'ab▁']),
      pre_tokenizer: { type: 'Metaspace', replacement: '▁', prepend_scheme: 'first' },
      added_tokens: [addedToken(20, '<'), addedToken(21, '>', { normalized: true })],
    }
    const tokenizer = await loadJson(json)
    expect(tokenizer.encode('a<b>a')).toEqual([2, 0, 20, 1, 21, 0])
    expect(tokenizer.encode('a>b')).toEqual([2, 0, 21, 1])
    expect(tokenizer.encode('<a')).toEqual([20, 0])
  })

  it('that are special and a character leave no trace of it in plain text', async () => {
    const tokenizer = await load([addedToken(0, 'a', { special: true })])
    expect(tokenizer.encode('aba')).toEqual([1])
    expect(tokenizer.encode('aba', { parseSpecialTokens: true })).toEqual([0, 1, 0])
  })

  it('that are special are no whole words either', async () => {
    const json = byteLevelJson()
    json.model.ignore_merges = true
    expect((await loadJson(json)).encode('hello')).toEqual([259])
    json.added_tokens.push(addedToken(259, 'hello', { special: true }))
    const tokenizer = await loadJson(json)
    expect(tokenizer.encode('hello')).toEqual([258, 111])
    expect(tokenizer.encode('hello', { parseSpecialTokens: true })).toEqual([259])
  })
})

describe('unknown characters', () => {
  const load = (model: object) => {
    const json = charactersJson(['?', 'a', 'b'])
    return loadJson({ ...json, model: { ...json.model, ...model } })
  }

  it('are left out, one token each, or one token together', async () => {
    expect((await load({})).encode('axxb')).toEqual([1, 2])
    expect((await load({ unk_token: '?' })).encode('axxb')).toEqual([1, 0, 0, 2])
    expect((await load({ unk_token: '?', fuse_unk: true })).encode('axxb')).toEqual([1, 0, 2])
  })

  it('fall back to bytes only where all their bytes have tokens', async () => {
    const json = charactersJson(['?', 'a', '<0xC3>', '<0xA9>'])
    Object.assign(json.model, { unk_token: '?', byte_fallback: true })
    expect((await loadJson(json)).encode('aéèa')).toEqual([1, 2, 3, 0, 1])
  })
})

describe('special tokens around a text', () => {
  const template = (...single: (string | null)[]) => ({
    type: 'TemplateProcessing',
    single: single.map((id) => (id === null ? { Sequence: { id: 'A' } } : { SpecialToken: { id } })),
    special_tokens: { s: { id: 's', ids: [0], tokens: ['s'] }, e: { id: 'e', ids: [1], tokens: ['e'] } },
  })
  const encode = async (post_processor: unknown, config?: object) =>
    (await loadJson({ ...charactersJson(['s', 'e', 'x']), post_processor }, config)).encode('x')

  it('are those of the template', async () => {
    expect(await encode(null)).toEqual([2])
    expect(await encode(template('s', null))).toEqual([0, 2])
    expect(await encode(template('s', 's', null, 'e'))).toEqual([0, 0, 2, 1])
    const pair = { type: 'RobertaProcessing', cls: ['s', 0], sep: ['e', 1] }
    expect(await encode({ type: 'Sequence', processors: [{ type: 'ByteLevel' }, pair] })).toEqual([0, 2, 1])
    // Later ones go around earlier ones.
    expect(await encode({ type: 'Sequence', processors: [template('e', null), pair] })).toEqual([0, 1, 2, 1])
  })

  it('are decided by tokenizer_config.json where it says so', async () => {
    const config = { bos_token: 's', eos_token: { content: 'e' } }
    expect(await encode(null, { ...config, add_bos_token: true })).toEqual([0, 2])
    expect(await encode(null, { ...config, add_eos_token: true })).toEqual([2, 1])
    expect(await encode(template('s', null), { ...config, add_bos_token: true })).toEqual([0, 2])
    expect(await encode(template('s', null), { ...config, add_bos_token: null })).toEqual([0, 2])
    expect(await encode(template('s', null, 'e'), { ...config, add_bos_token: false })).toEqual([2, 1])
    expect(await encode(template('s', null, 'e'), { ...config, add_eos_token: false })).toEqual([0, 2])
  })
})

describe('decode', async () => {
  const byteLevel = await loadJson(byteLevelJson())
  const byteFallback = await loadJson(byteFallbackJson(), llamaConfig)

  it('leaves special tokens out unless told otherwise', () => {
    expect(byteLevel.decode([259, endOfText, 269])).toBe('hello<think>')
    expect(byteLevel.decode([259, endOfText, 269], { keepSpecialTokens: true })).toBe(
      'hello<|endoftext|><think>',
    )
  })

  it('takes any array of ids', () => {
    expect(byteLevel.decode([])).toBe('')
    expect(byteLevel.decode(Int32Array.of(259, 265))).toBe('hello world')
  })

  it('strips one space of the front only', () => {
    const { vocab } = byteFallbackJson().model
    expect(byteFallback.decode([vocab['▁▁'], vocab.h, vocab['▁hello']])).toBe(' h hello')
  })

  it('refuses ids out of range', () => {
    for (const id of [-1, 270, 2 ** 31, 1.5, Number.NaN, '5']) {
      expect(() => byteLevel.decode([0, id as number])).toThrow(RangeError)
      if (id === 270) continue
      expect(() => byteLevel.streamDecoder().push(id as number)).toThrow(RangeError)
      expect(() => byteLevel.streamDecoder({ after: [id as number] })).toThrow(RangeError)
    }
    expect(() => byteLevel.decode([0, 270])).toThrow(
      'decode: ids[1] must be a token id from 0 to 269, got 270',
    )
    expect(() => byteLevel.decode(null as never)).toThrow(TypeError)
  })

  it('takes the characters of an added token as they are', async () => {
    // "é" and "Ġ" would be bytes in a token of the model.
    const json = byteLevelJson()
    json.added_tokens.push(addedToken(270, 'éĠ'))
    expect((await loadJson(json)).decode([0xc3, 270, 259])).toBe('\ufffdéĠhello')
  })

  it('passes over ids that no token has', async () => {
    const tokenizer = await loadJson({
      model: { vocab: { a: 0, b: 5 }, merges: [] },
      decoder: { type: 'Fuse' },
    })
    expect(tokenizer.vocabSize).toBe(6)
    expect(tokenizer.decode([0, 3, 5])).toBe('ab')
    expect(tokenizer.display(3)).toBe('<unused 3>')
  })
})

describe('display', async () => {
  const byteLevel = await loadJson(byteLevelJson())
  const byteFallback = await loadJson(byteFallbackJson())

  it('shows what can be seen and escapes what cannot', () => {
    expect([259, 265, 0x20, 0x0a, 0x5c, 0x7f].map((id) => byteLevel.display(id))).toEqual([
      'hello',
      '␣world',
      '␣',
      '\\n',
      '\\\\',
      '\\u{7f}',
    ])
    expect(byteLevel.display(endOfText)).toBe('<|endoftext|>')
  })

  it('shows bytes that are no text of their own', () => {
    expect(byteLevel.display(0xe2)).toBe('<0xE2>')
    expect(byteLevel.display(266)).toBe('<0xF0><0x9F>')
    expect(byteFallback.display(0xe2 + 3)).toBe('<0xE2>')
    expect(byteFallback.display(0x0a + 3)).toBe('\\n')
  })

  it('shows a token as it is within a text', () => {
    const { vocab } = byteFallbackJson().model
    expect(byteFallback.display(vocab['▁hello'])).toBe('␣hello')
    expect(byteFallback.display(vocab['▁▁'])).toBe('␣␣')
    expect(byteFallback.display(vocab.é)).toBe('é')
  })

  it('is never blank', async () => {
    const tokenizer = await loadJson(charactersJson(['', '\u0301', '\u200d', '\u3164', '\u00a0', '\u2800']))
    expect([0, 1, 2, 3, 4, 5].map((id) => tokenizer.display(id))).toEqual([
      '<empty>',
      '◌\u0301',
      '\\u{200d}',
      '\\u{3164}',
      '\\u{a0}',
      '\\u{2800}',
    ])
  })

  it('shows ids beyond the vocabulary, which models with padded heads can predict', () => {
    expect(byteLevel.display(5000)).toBe('<unused 5000>')
    expect(() => byteLevel.display(-1)).toThrow(RangeError)
  })
})
