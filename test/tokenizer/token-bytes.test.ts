import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { encodeWithin, loadTokenizer, type Tokenizer } from '#kvasir/tokenizer/index.js'
import { rootDir, shared, sharedDir } from '../shared.js'
import { byteFallbackJson, byteLevelJson, endOfText, loadJson } from './tiny-tokenizers.js'

const folders = sharedDir ? ['gpt2', 'llama2', 'qwen3'].map((name) => shared('tokenizers', name)) : []

async function open(folder: string): Promise<Tokenizer> {
  return (await loadTokenizer(folder))!
}

const tokenizers: [string, Tokenizer][] = [
  ['bytes in an alphabet', await loadJson(byteLevelJson())],
  ['characters and byte tokens', await loadJson(byteFallbackJson())],
  ['tiny-shakespeare', await open(`${rootDir}/models/tiny-shakespeare`)],
]
for (const folder of folders) tokenizers.push([folder.split('/').at(-1)!, await open(folder)])

describe.each(tokenizers)('tokenBytes of %s', (_, tokenizer) => {
  const bytesOf = (ids: number[]) => Buffer.concat(ids.map((id) => tokenizer.tokenBytes(id)!))
  /** The space that SentencePiece puts before every text. */
  const prefix = bytesOf(tokenizer.encode('x', { addSpecialTokens: false }))
    .toString()
    .slice(0, -1)
  const texts = fc.oneof(fc.string({ unit: 'grapheme' }), fc.string({ unit: 'binary' }), fc.lorem())

  it('are the bytes of a text, after the space that some put before it', () => {
    fc.assert(
      fc.property(texts, (text) => {
        // What a normalizer changes comes out changed, and a byte order mark is text.
        const wellFormed = text.replace(/\p{Surrogate}/gu, '\ufffd')
        const normalized = wellFormed.normalize('NFC')
        fc.pre(normalized === wellFormed && !wellFormed.includes('\u2581') && wellFormed !== '')
        const ids = tokenizer.encode(wellFormed, { addSpecialTokens: false })
        fc.pre(ids.every((id) => tokenizer.tokenBytes(id) !== null)) // a character that a small tokenizer lacks
        expect(bytesOf(ids).toString()).toBe(prefix + wellFormed)
      }),
    )
  })

  it('are the bytes of a text in the midst of another', () => {
    for (const text of [
      '{"name": "',
      ' leading',
      'word',
      '  two',
      'a\nb',
      '12.5',
      '',
      '\n',
      'naïve 漢字 😀',
    ]) {
      const ids = encodeWithin(tokenizer, Buffer.from(text))
      if (ids.some((id) => tokenizer.tokenBytes(id) === null)) continue // a character that a small tokenizer lacks
      expect(bytesOf(ids).toString()).toBe(text)
    }
  })

  it('are the bytes of what is decoded in the midst of a text', () => {
    const anyId = fc.nat(tokenizer.vocabSize - 1).filter((id) => tokenizer.tokenBytes(id) !== null)
    const utf8 = new TextDecoder('utf-8', { ignoreBOM: true })
    fc.assert(
      fc.property(fc.array(anyId), (ids) => {
        const bytes = bytesOf(ids)
        fc.pre(!utf8.decode(bytes).includes('\ufffd')) // what is no character is decoded in several ways
        for (const after of [
          [],
          tokenizer.bosId === null ? [] : [tokenizer.bosId],
          tokenizer.encode('before'),
        ]) {
          const decoder = tokenizer.streamDecoder({ after, within: true })
          expect(ids.map((id) => decoder.push(id)).join('') + decoder.flush()).toBe(utf8.decode(bytes))
        }
      }),
    )
  })

  it('are null for special tokens and ids beyond', () => {
    for (const id of [tokenizer.bosId, tokenizer.eosId, tokenizer.vocabSize, 2 ** 31 - 1])
      if (id !== null) expect(tokenizer.tokenBytes(id)).toBeNull()
    for (const id of [-1, 1.5, 2 ** 31]) expect(() => tokenizer.tokenBytes(id)).toThrow(RangeError)
  })
})

describe('tokenBytes', () => {
  it('are null for added tokens, special or not', async () => {
    const tokenizer = await loadJson(byteLevelJson())
    expect([endOfText, 268, 269].map((id) => tokenizer.tokenBytes(id))).toEqual([null, null, null])
  })

  it('keep the space of a first token that decoders take away', async () => {
    const tokenizer = await loadJson(byteFallbackJson())
    const [id] = tokenizer.encode('hello', { addSpecialTokens: false })
    expect(Buffer.from(tokenizer.tokenBytes(id)!).toString()).toBe(' hello')
    expect(tokenizer.streamDecoder().push(id)).toBe('hello')
    expect(tokenizer.streamDecoder({ within: true }).push(id)).toBe(' hello')
  })
})
