import { describe, expect, it } from 'vitest'
import { JsonObject } from '#kvasir/tokenizer/json-object.js'
import { readNormalizer } from '#kvasir/tokenizer/normalizer.js'
import { readPreTokenizer } from '#kvasir/tokenizer/pre-tokenizer.js'

// What is expected here was seen to be what version 0.23 of the Python package `tokenizers` does.

function split(config: object, text: string, atStart = true): string[] {
  return readPreTokenizer(new JsonObject('tokenizer.json', 'pre_tokenizer', config))(text, atStart)
}

function normalize(config: object, text: string): string {
  return readNormalizer(new JsonObject('tokenizer.json', 'normalizer', config))(text)
}

describe('Split', () => {
  it.each([
    ['Removed', ['the', 'final', 'countdown']],
    ['Isolated', ['the', '-', 'final', '-', '-', 'countdown']],
    ['MergedWithPrevious', ['the-', 'final-', '-', 'countdown']],
    ['MergedWithNext', ['the', '-final', '-', '-countdown']],
    ['Contiguous', ['the', '-', 'final', '--', 'countdown']],
  ])('%s', (behavior, pieces) => {
    const config = { type: 'Split', pattern: { String: '-' }, behavior, invert: false }
    expect(split(config, 'the-final--countdown')).toEqual(pieces)
  })

  it('inverts', () => {
    const config = { type: 'Split', pattern: { Regex: '[a-z]+' }, behavior: 'Removed', invert: true }
    expect(split(config, '1ab2cd')).toEqual(['ab', 'cd'])
  })

  it('takes patterns as Oniguruma does', () => {
    const config = (Regex: string) => ({ type: 'Split', pattern: { Regex }, behavior: 'Isolated' })
    expect(split(config("(?i:'s|'re)|\\s+(?!\\S)|\\s+"), "we'RE  all\u0085")).toEqual([
      'we',
      "'RE",
      ' ',
      ' ',
      'all',
      '\u0085',
    ])
    expect(split(config('\\d*'), 'a12😀')).toEqual(['a', '12', '😀'])
    expect(split(config('$|.'), 'a.')).toEqual(['a', '.'])
  })

  it('matches a literal text literally, and an empty one never', () => {
    const config = (literal: string) => ({
      type: 'Split',
      pattern: { String: literal },
      behavior: 'Removed',
    })
    expect(split(config('.*'), 'a.*b')).toEqual(['a', 'b'])
    expect(split(config(''), 'ab')).toEqual(['ab'])
  })
})

describe('other pre-tokenizers', () => {
  it('Digits', () => {
    expect(split({ type: 'Digits', individual_digits: true }, 'a12½')).toEqual(['a', '1', '2', '½'])
    expect(split({ type: 'Digits', individual_digits: false }, 'a12b')).toEqual(['a', '12', 'b'])
  })

  it('Punctuation', () => {
    expect(split({ type: 'Punctuation' }, 'a,b!!$。')).toEqual(['a', ',', 'b', '!', '!', '$', '。'])
    expect(split({ type: 'Punctuation', behavior: 'Contiguous' }, 'a!!b')).toEqual(['a', '!!', 'b'])
  })

  it('Whitespace and WhitespaceSplit', () => {
    expect(split({ type: 'Whitespace' }, 'né_1 x-y\u0085')).toEqual(['né_1', 'x', '-', 'y'])
    expect(split({ type: 'WhitespaceSplit' }, ' né  x-y ')).toEqual(['né', 'x-y'])
  })

  it('Metaspace', () => {
    const config = (prepend_scheme: string, rest = {}) => ({
      type: 'Metaspace',
      replacement: '▁',
      prepend_scheme,
      ...rest,
    })
    expect(split(config('always'), 'a  b')).toEqual(['▁a', '▁', '▁b'])
    expect(split(config('always', { split: false }), ' a b')).toEqual(['▁a▁b'])
    expect(split(config('first'), 'a b')).toEqual(['▁a', '▁b'])
    expect(split(config('first'), 'a b', false)).toEqual(['a', '▁b'])
    expect(split(config('never'), 'a b')).toEqual(['a', '▁b'])
  })

  it('ByteLevel', () => {
    expect(split({ type: 'ByteLevel' }, "I'll é  x")).toEqual(['I', "'ll", 'ĠÃ©', 'Ġ', 'Ġx'])
    // U+0085 is white space and U+FEFF is not; JavaScript's \s has both the other way round.
    expect(split({ type: 'ByteLevel' }, ' \ufeff\u0085 a')).toEqual(['Ġï»¿', 'Âħ', 'Ġa'])
    expect(split({ type: 'ByteLevel', add_prefix_space: true, use_regex: false }, 'a b')).toEqual(['ĠaĠb'])
  })

  it('Sequence: the first piece alone is at the start', () => {
    const pretokenizers = [
      { type: 'Digits', individual_digits: true },
      { type: 'Metaspace', replacement: '▁', prepend_scheme: 'first' },
    ]
    expect(split({ type: 'Sequence', pretokenizers }, '1a')).toEqual(['▁1', 'a'])
  })
})

describe('normalizers', () => {
  it.each([
    [{ type: 'NFC' }, 'e\u0301', 'é'],
    [{ type: 'NFD' }, 'é', 'e\u0301'],
    [{ type: 'NFKC' }, 'ﬁ½', 'fi1⁄2'],
    [{ type: 'NFKD' }, 'ﬁé', 'fie\u0301'],
    [{ type: 'Lowercase' }, 'ΣΑΣ', 'σασ'],
    [{ type: 'StripAccents' }, 'e\u0301a', 'ea'],
    [{ type: 'Strip', strip_left: true, strip_right: false }, '\u0085 a ', 'a '],
    [{ type: 'Strip', strip_left: false, strip_right: true }, ' a\ufeff \u0085', ' a\ufeff'],
    [{ type: 'Strip', strip_left: true, strip_right: true }, '  ', ''],
    [{ type: 'Prepend', prepend: '▁' }, 'a', '▁a'],
    [{ type: 'Prepend', prepend: '▁' }, '', ''],
    [{ type: 'Replace', pattern: { Regex: 'b+' }, content: '$&' }, 'abbc', 'a$&c'],
    [{ type: 'ByteLevel' }, 'é ', 'Ã©Ġ'],
    [{ type: 'Sequence', normalizers: [{ type: 'NFD' }, { type: 'StripAccents' }] }, 'é', 'e'],
  ])('%j', (config, text, normalized) => {
    expect(normalize(config, text)).toBe(normalized)
  })
})
