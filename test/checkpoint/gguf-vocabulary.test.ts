import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { GgufMetadata } from '#kvasir/checkpoint/gguf/metadata.js'
import { ggufTokenizer } from '#kvasir/checkpoint/gguf/vocabulary.js'
import type { Tokenizer } from '#kvasir/tokenizer/index.js'
import { loadTokenizer } from '#kvasir/tokenizer/index.js'
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
