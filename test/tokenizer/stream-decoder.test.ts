import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Tokenizer } from '#kvasir/tokenizer/index.js'
import { byteFallbackJson, byteLevelJson, charactersJson, endOfText, loadJson } from './tiny-tokenizers.js'

function anyIds(tokenizer: Tokenizer) {
  return fc.array(fc.nat(tokenizer.vocabSize - 1), { maxLength: 60 })
}

function stream(tokenizer: Tokenizer, ids: number[], options = {}): string[] {
  const decoder = tokenizer.streamDecoder(options)
  return [...ids.map((id) => decoder.push(id)), decoder.flush()]
}

const byteLevel = await loadJson(byteLevelJson())
const byteFallback = await loadJson(byteFallbackJson())

describe.each([
  ['byte-level', byteLevel],
  ['byte fallback', byteFallback],
])('%s streams', (_, tokenizer) => {
  it('give the text of all ids together', () => {
    fc.assert(
      fc.property(anyIds(tokenizer), fc.boolean(), (ids, keepSpecialTokens) => {
        const text = tokenizer.decode(ids, { keepSpecialTokens })
        expect(stream(tokenizer, ids, { keepSpecialTokens }).join('')).toBe(text)
      }),
    )
  })

  it('never cut a character', () => {
    const text = fc.string({ unit: 'grapheme' }).filter((any) => !any.includes('\ufffd'))
    fc.assert(
      fc.property(text, (any) => {
        const ids = tokenizer.encode(any, { addSpecialTokens: false })
        const pieces = stream(tokenizer, ids)
        expect(pieces.join('')).not.toContain('\ufffd')
        for (const piece of pieces) expect(piece).not.toMatch(/\p{Surrogate}/u)
        expect(pieces.at(-1)).toBe('')
      }),
    )
  })

  it('go on after a prompt', () => {
    fc.assert(
      fc.property(anyIds(tokenizer), anyIds(tokenizer), (prompt, ids) => {
        const before = tokenizer.streamDecoder()
        const certain = prompt.map((id) => before.push(id)).join('')
        const added = stream(tokenizer, ids, { after: prompt }).join('')
        expect(certain + added).toBe(tokenizer.decode([...prompt, ...ids]))
      }),
    )
  })

  it('begin anew after flush', () => {
    fc.assert(
      fc.property(anyIds(tokenizer), anyIds(tokenizer), (first, second) => {
        const decoder = tokenizer.streamDecoder()
        const texts = [first, second].map(
          (ids) => ids.map((id) => decoder.push(id)).join('') + decoder.flush(),
        )
        expect(texts).toEqual([tokenizer.decode(first), tokenizer.decode(second)])
      }),
    )
  })
})

describe('pieces', () => {
  it('hold an incomplete character back', () => {
    const bytes = [...new TextEncoder().encode('é日😀')]
    const pieces = ['', 'é', '', '', '日', '', '', '', '😀', '']
    expect(stream(byteLevel, bytes)).toEqual(pieces)
    const asTokens = bytes.map((byte) => byte + 3)
    expect(stream(byteFallback, asTokens)).toEqual(pieces)
  })

  it('give up a character as soon as it cannot be completed', () => {
    expect(stream(byteLevel, [0xe2, 0x61, 0xf0, 0x9f])).toEqual(['', '\ufffda', '', '', '\ufffd'])
    expect(stream(byteFallback, [0xe2 + 3, 0x61 + 3, 0xff + 3])).toEqual(['', '\ufffda', '\ufffd', ''])
  })

  it('keep a byte order mark', () => {
    const mark = [0xef, 0xbb, 0xbf]
    expect(byteLevel.decode(mark)).toBe('\ufeff')
    expect(byteFallback.decode(mark.map((byte) => byte + 3))).toBe('\ufeff')
  })

  it('lose the space at the front of the text only', () => {
    const hello = byteFallbackJson().model.vocab['▁hello']
    expect(stream(byteFallback, [1, hello, hello])).toEqual(['', 'hello', ' hello', ''])
    expect(stream(byteFallback, [hello], { after: [1, hello] })).toEqual([' hello', ''])
  })

  it('complete a character across a special token that is left out', () => {
    expect(stream(byteLevel, [0xc3, endOfText, 0xa9])).toEqual(['', '', 'é', ''])
  })
})

describe('ids beyond the vocabulary', () => {
  it('have no text', () => {
    expect(stream(byteLevel, [0xc3, 5000, 0xa9], { after: [5000] })).toEqual(['', '', 'é', ''])
  })
})

describe('decoders of other kinds', () => {
  const contents = ['▁a', '▁b', 'b', ' ', '  ', 'a ', '<0xC3>', '<0xA9>', 'x']
  const load = (decoder: unknown) => loadJson({ ...charactersJson(contents), decoder })
  const sequence = (...decoders: object[]) => ({ type: 'Sequence', decoders })
  const fuse = { type: 'Fuse' }
  const fallback = { type: 'ByteFallback' }
  const replace = (literal: string, content: string) => ({
    type: 'Replace',
    pattern: { String: literal },
    content,
  })
  const strip = (start: number, stop: number) => ({ type: 'Strip', content: ' ', start, stop })
  const metaspace = (prepend_scheme: string) => ({ type: 'Metaspace', replacement: '▁', prepend_scheme })

  it.each([
    ['none: spaces between tokens', null, [0, 2, 8], '▁a b x'],
    ['an empty sequence', sequence(), [0, 2], '▁ab'],
    ['Metaspace', metaspace('always'), [0, 1, 2], 'a bb'],
    ['Metaspace without prefix', metaspace('never'), [0, 1], ' a b'],
    ['Strip of each token', strip(1, 1), [4, 5, 8], 'ax'],
    ['Strip of the end', sequence(fuse, strip(0, 2)), [8, 3, 4, 8, 4, 3], 'x   x '],
    ['Replace across tokens', sequence(fuse, replace('ab', '$&!')), [8, 0, 2, 8], 'x▁$&!x'],
    ['Replace of a literal $', sequence(replace('▁', '$&')), [0, 2], '$&ab'],
    ['bytes after fusing', sequence(fuse, fallback), [6, 7], '<0xC3><0xA9>'],
    ['bytes, then the rest', sequence(fallback, metaspace('always'), fuse), [6, 7, 0], 'é a'],
  ])('%s', async (_, decoder, ids, text) => {
    const tokenizer = await load(decoder)
    expect(tokenizer.decode(ids)).toBe(text)
    expect(stream(tokenizer, ids).join('')).toBe(text)
  })
})
