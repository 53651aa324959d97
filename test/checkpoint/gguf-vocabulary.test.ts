import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { GgufMetadata } from '#kvasir/checkpoint/gguf/metadata.js'
import { preTokenizerRules } from '#kvasir/checkpoint/gguf/pre-tokenizers.js'
import { ggufTokenizer } from '#kvasir/checkpoint/gguf/vocabulary.js'
import type { Tokenizer } from '#kvasir/tokenizer/index.js'
import { loadTokenizer } from '#kvasir/tokenizer/index.js'
import { JsonObject } from '#kvasir/tokenizer/json-object.js'
import { readPreTokenizer } from '#kvasir/tokenizer/pre-tokenizer.js'
import { shared, sharedDir } from '../shared.js'

type Arrays = Record<string, string[] | Float64Array>

function tokenizerOf(values: Record<string, string | number | boolean>, arrays: Arrays): Tokenizer {
  const described = Object.fromEntries(
    Object.entries(arrays).map(([key, array]) => {
      return [key, { elements: Array.isArray(array) ? 'string' : 'number', length: array.length } as const]
    }),
  )
  return ggufTokenizer(new GgufMetadata('test.gguf', { ...values, ...described }, (key) => arrays[key]!))!
}

/** A tokenizer.json as converters write it into a GGUF file. */
function converted(folder: string, values: Record<string, string | number>): Tokenizer {
  const json = JSON.parse(readFileSync(shared('tokenizers', folder, 'tokenizer.json'), 'utf8'))
  const { vocab, merges } = json.model as { vocab: Record<string, number>; merges: (string | string[])[] }
  const tokens: string[] = []
  for (const [content, id] of Object.entries(vocab)) tokens[id] = content
  for (const { content, id } of json.added_tokens) tokens[id] = content
  const special = new Map<number, boolean>(
    json.added_tokens.map(({ id, special }: { id: number; special: boolean }) => [id, special]),
  )
  const kind = (content: string, id: number) => {
    if (content === '<unk>') return 2
    if (special.has(id)) return special.get(id) ? 3 : 4
    return /^<0x[0-9A-F]{2}>$/.test(content) ? 6 : 1
  }
  return tokenizerOf(values, {
    'tokenizer.ggml.tokens': tokens,
    'tokenizer.ggml.token_type': Float64Array.from(tokens, kind),
    // SentencePiece's byte-pair models give each token its rank; LLaMA's gives runs of spaces the last.
    'tokenizer.ggml.scores': Float64Array.from(tokens, (content, id) => {
      return /^\u2581{2,}$/.test(content) ? -1e9 : id < 259 ? 0 : 259 - id
    }),
    'tokenizer.ggml.merges': merges.map((merge) => (typeof merge === 'string' ? merge : merge.join(' '))),
  })
}

const cases: [name: string, folder: string, values: Record<string, string | number>][] = [
  ['gpt-2', 'gpt2', { 'tokenizer.ggml.model': 'gpt2', 'tokenizer.ggml.pre': 'gpt-2' }],
  ['qwen2', 'qwen3', { 'tokenizer.ggml.model': 'gpt2', 'tokenizer.ggml.pre': 'qwen2' }],
  ['llama-spm', 'llama2', { 'tokenizer.ggml.model': 'llama', 'tokenizer.ggml.bos_token_id': 1 }],
]

// llama.cpp's own test cases.
describe.skipIf(!sharedDir).each(cases)('the vocabulary %s in a GGUF file', (name, folder, values) => {
  it('gives the expected ids', async () => {
    const tokenizer = converted(folder, values)
    const texts = readFileSync(shared('tokenizer-cases', `${name}.inp`), 'utf8').split(
      '\n__ggml_vocab_test__\n',
    )
    const expected = readFileSync(shared('tokenizer-cases', `${name}.out`), 'utf8').split('\n')
    const encoded = texts.map((text) => tokenizer.encode(text, { addSpecialTokens: false }))
    expect(encoded.map((ids) => ids.join(' '))).toEqual(expected.map((line) => line.trim()))
    expect(encoded.map((ids) => tokenizer.decode(ids))).toEqual(texts)
  })

  it("begins and ends texts as the model's own files do", async () => {
    const own = (await loadTokenizer(shared('tokenizers', folder)))!
    const tokenizer = converted(folder, values)
    for (const text of ['Hello world', '', 'a <s> b <|im_end|> c']) {
      expect(tokenizer.encode(text)).toEqual(own.encode(text))
      expect(tokenizer.decode(tokenizer.encode(text))).toEqual(own.decode(own.encode(text)))
    }
  })
})

describe('a vocabulary in a GGUF file', () => {
  it('is absent where its model says so', () => {
    const none = new GgufMetadata('test.gguf', { 'tokenizer.ggml.model': 'no_vocab' }, () => [])
    expect(ggufTokenizer(none)).toBeNull()
  })

  it('cuts digits in threes for LLaMA 3, and takes whole words first', () => {
    const tokens = ['1', '2', '3', '4', '12', '123', 'a', 'b', 'ab', '1234']
    const tokenizer = tokenizerOf(
      { 'tokenizer.ggml.model': 'gpt2', 'tokenizer.ggml.pre': 'llama-bpe' },
      { 'tokenizer.ggml.tokens': tokens, 'tokenizer.ggml.merges': ['1 2', '12 3'] },
    )
    expect(tokenizer.encode('1234')).toEqual([5, 3])
    expect(tokenizer.encode('ab')).toEqual([8]) // without a merge
  })
})

/** The pieces into which a named rule cuts a text. */
function cut(name: string, text: string): string[] {
  const splits = preTokenizerRules.get(name)!.patterns.map((Regex) => ({
    type: 'Split',
    pattern: { Regex },
    behavior: 'Isolated',
    invert: false,
  }))
  const json = new JsonObject('test', '', { type: 'Sequence', pretokenizers: splits })
  return readPreTokenizer(json)(text, true)
}

describe('where a text is cut', () => {
  it.each([
    ['default', 'a.b 1234', ['a', '.', 'b', ' ', '123', '4']],
    ['gpt-2', "it's 1234  x", ['it', "'s", ' 1234', ' ', ' x']],
    ['starcoder', 'x12 y', ['x', '1', '2', ' y']],
    ['llama-bpe', "It'S 1234\n\n x", ['It', "'S", ' ', '123', '4', '\n\n', ' x']],
    ['qwen2', 'ab12 (c)\n', ['ab', '1', '2', ' (', 'c', ')\n']],
    ['qwen35', 'e\u0301x y', ['e\u0301x', ' y']],
    ['minicpm5', 'a1234', ['a', '123', '4']],
    ['laguna', 'a\n\n b', ['a', '\n\n', ' b']],
    ['seed-coder', 'a!\nb', ['a', '!', '\n', 'b']],
    ['bailingmoe', "it's\n\nx", ['it', "'s", '\n\n', 'x']],
    ['exaone-moe', '\u0e01 \u0e02 1', ['\u0e01 \u0e02', ' ', '1']],
    ['jais-2', 'a     b', ['a', '    ', ' b']],
    ['gpt-4o', "HelloWorld don't 1234", ['Hello', 'World', " don't", ' ', '123', '4']],
    ['tekken', "HelloWorld don't 12", ['Hello', 'World', ' don', "'t", ' ', '1', '2']],
    ['tiny_aya', 'a1234567', ['a', '1', '234', '567']],
    ['youtu', '\uac00\ub098 Ab1', ['\uac00\ub098', ' Ab', '1']],
    ['kimi-k2', '\u4f60\u597dABc 12', ['\u4f60\u597d', 'ABc', ' ', '12']],
    ['deepseek-llm', 'ab \u4f60\n 12', ['ab', ' ', '\u4f60', '\n', ' ', '12']],
    ['deepseek-coder', 'foo_bar 12', ['foo', '_', 'bar', ' ', '1', '2']],
    [
      'deepseek-v3',
      'abc 123456 \u4f60\u597d x=1',
      ['abc', ' ', '123', '456', ' ', '\u4f60\u597d', ' x', '=', '1'],
    ],
    ['afmoe', '1234567 ab', ['1', '234', '567', ' ab']],
    ['falcon', 'a, 1234!', ['a', ',', ' ', '123', '4', '!']],
    ['bloom', 'Hello, world (x)', ['Hello', ',', ' world', ' (', 'x', ')']],
    ['viking', 'a12 b', ['a', '1', '2', ' b']],
    ['superbpe', 'a 1234567', ['a ', '1', '234', '567']],
    ['chameleon', 'a  b1', ['a', '  ', 'b', '1']],
    ['gemma4', 'a b\n\nc', ['a b', '\n\n', 'c']],
  ])('%s', (name, text, expected) => {
    expect(cut(name, text)).toEqual(expected)
  })

  it('loses nothing, by any rule', () => {
    const text =
      "Hello\tWORLD'll don't  \u00e9\u0301 1234567,89 \u4f60\u597d\u30c6\u30b9\u30c8 \ud55c\uad6d \u0939\u093f\u0928\u0926\u0940 \ud83d\ude00\ud83d\udc4d \r\n\r\n   x_y(z); <b>=\u2026\u2014 \u00bd \n"
    for (const name of preTokenizerRules.keys()) {
      const pieces = cut(name, text)
      expect(pieces.join(''), name).toBe(text)
      expect(pieces.length, name).toBeGreaterThan(3)
    }
  })

  it('merges characters where the rule says so, and falls back to bytes', () => {
    const tokens = ['<unk>', '\u2581', 'a', 'b', '\u2581a', '<0xC3>', '<0xA9>']
    const tokenizer = tokenizerOf(
      { 'tokenizer.ggml.model': 'gpt2', 'tokenizer.ggml.pre': 'gemma4' },
      { 'tokenizer.ggml.tokens': tokens, 'tokenizer.ggml.merges': ['\u2581 a'] },
    )
    expect(tokenizer.encode('b a\u00e9')).toEqual([3, 4, 5, 6])
    expect(tokenizer.decode([3, 4, 5, 6])).toBe('b a\u00e9')
  })

  it('is refused by a name that nobody knows', () => {
    const values = { 'tokenizer.ggml.model': 'gpt2', 'tokenizer.ggml.pre': 'none-such' }
    expect(() =>
      tokenizerOf(values, { 'tokenizer.ggml.tokens': ['a'], 'tokenizer.ggml.merges': [] }),
    ).toThrow(/none-such/)
  })
})
