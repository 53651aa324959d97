import { readFileSync } from 'node:fs'
import * as reference from '@huggingface/tokenizers'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { loadTokenizer, type Tokenizer } from '#kvasir/tokenizer/index.js'
import { shared, sharedDir } from '../shared.js'

async function loadShared(...folder: string[]): Promise<Tokenizer> {
  return (await loadTokenizer(shared(...folder)))!
}

function readJson(...path: string[]) {
  return JSON.parse(readFileSync(shared(...path), 'utf8'))
}

describe.skipIf(!sharedDir)('expected ids', () => {
  it.each([
    ['gpt-2', 'gpt2'],
    ['llama-spm', 'llama2'],
    ['qwen2', 'qwen3'],
  ])('%s', async (name, folder) => {
    const tokenizer = await loadShared('tokenizers', folder)
    const input = readFileSync(shared('tokenizer-cases', `${name}.inp`), 'utf8')
    const output = readFileSync(shared('tokenizer-cases', `${name}.out`), 'utf8')
    const texts = input.split('\n__ggml_vocab_test__\n')
    const expected = output.split('\n')
    expect(texts.length).toBe(expected.length)
    const encoded = texts.map((text) => tokenizer.encode(text, { addSpecialTokens: false }))
    expect(encoded.map((ids) => ids.join(' '))).toEqual(expected.map((line) => line.trim()))
    expect(encoded.map((ids) => tokenizer.decode(ids))).toEqual(texts)
  })
})

const folders = [
  ['tokenizers', 'gpt2'],
  ['tokenizers', 'llama2'],
  ['tokenizers', 'qwen3'],
  ['models', 'stories260K'],
]

describe.skipIf(!sharedDir).each(folders)('%s/%s', async (...folder) => {
  const tokenizer = sharedDir ? await loadShared(...folder) : (null as never)
  const anyIds = () => fc.array(fc.nat(tokenizer.vocabSize - 1), { maxLength: 200 })
  const stream = (ids: number[], after: number[] = []) => {
    const decoder = tokenizer.streamDecoder({ after })
    return ids.map((id) => decoder.push(id)).join('') + decoder.flush()
  }

  it('streams the text of random ids', () => {
    fc.assert(
      fc.property(anyIds(), (ids) => {
        expect(stream(ids)).toBe(tokenizer.decode(ids))
      }),
    )
  })

  it('streams a continuation', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), anyIds(), (prompt, ids) => {
        const before = tokenizer.encode(prompt)
        expect(tokenizer.decode(before) + stream(ids, before)).toBe(tokenizer.decode([...before, ...ids]))
      }),
    )
  })

  it('gives any text back', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 100 }), (text) => {
        // Qwen normalizes to NFC; LLaMA writes the space as "▁".
        const expected = folder[1] === 'qwen3' ? text.normalize('NFC') : text
        if (!text.includes('▁')) expect(tokenizer.decode(tokenizer.encode(text))).toBe(expected)
      }),
    )
  })

  it('never makes one of its special tokens of text', () => {
    const { added_tokens } = readJson(...folder, 'tokenizer.json')
    const specials = added_tokens.filter(({ special }: { special: boolean }) => special)
    expect(specials.length).toBeGreaterThan(0)
    for (const { id, content } of specials) {
      const text = `a${content} ${content}${content}`
      const ids = tokenizer.encode(text, { addSpecialTokens: false })
      expect(ids.filter((each) => tokenizer.isSpecial(each))).toEqual([])
      expect(tokenizer.decode(ids)).toBe(text)
      expect(tokenizer.encode(content, { addSpecialTokens: false, parseSpecialTokens: true })).toEqual([id])
    }
  })

  it('finds added tokens that are not special', () => {
    const { added_tokens } = readJson(...folder, 'tokenizer.json')
    for (const { id, content, special } of added_tokens) {
      if (!special) expect(tokenizer.encode(content, { addSpecialTokens: false })).toEqual([id])
    }
  })

  it('shows every token', () => {
    for (let id = 0; id < tokenizer.vocabSize; id++) {
      if (!/^\S+$/u.test(tokenizer.display(id))) expect(tokenizer.display(id)).toBe('visible')
    }
  })
})

describe.skipIf(!sharedDir).each(['gpt2', 'llama2', 'qwen3'])('decode of %s', async (name) => {
  const tokenizer = sharedDir ? await loadShared('tokenizers', name) : (null as never)

  it('gives what the package gives', () => {
    // Its declarations do not resolve in ES modules.
    const { Tokenizer: Reference } = reference as unknown as {
      Tokenizer: new (json: object, config: object) => { decode(ids: number[], options: object): string }
    }
    const other = new Reference(readJson('tokenizers', name, 'tokenizer.json'), {})
    const options = { skip_special_tokens: true, clean_up_tokenization_spaces: false }
    fc.assert(
      fc.property(fc.array(fc.nat(tokenizer.vocabSize - 1), { minLength: 1, maxLength: 200 }), (ids) => {
        expect(tokenizer.decode(ids)).toBe(other.decode(ids, options))
      }),
    )
  })
})

describe.skipIf(!sharedDir)('special tokens', () => {
  it('are those of the configuration', async () => {
    const [gpt2, llama2, qwen3] = await Promise.all(
      ['gpt2', 'llama2', 'qwen3'].map((name) => loadShared('tokenizers', name)),
    )
    expect([gpt2.vocabSize, gpt2.bosId, gpt2.eosId]).toEqual([50257, 50256, 50256])
    expect([llama2.vocabSize, llama2.bosId, llama2.eosId]).toEqual([32000, 1, 2])
    expect([qwen3.vocabSize, qwen3.bosId, qwen3.eosId]).toEqual([151669, null, 151645])
    expect(gpt2.encode('Hello')).toEqual([15496])
    expect(llama2.encode('Hello')).toEqual([1, 15043])
    expect(qwen3.encode('Hello')).toEqual([9707])
  })
})

describe.skipIf(!sharedDir)('small models', () => {
  it('gpt-nano-sort has three letters', async () => {
    const tokenizer = await loadShared('models', 'gpt-nano-sort')
    expect(tokenizer.encode('CABBA')).toEqual([2, 0, 1, 1, 0])
    expect(tokenizer.decode([2, 0, 1])).toBe('CAB')
    expect(stream(tokenizer, [2, 0, 1])).toEqual(['C', 'A', 'B', ''])
    expect([tokenizer.vocabSize, tokenizer.bosId, tokenizer.eosId]).toEqual([3, null, null])
  })

  it('stories260K continues its prompt', async () => {
    const tokenizer = await loadShared('models', 'stories260K')
    const { prompt, ids, greedy, text } = readJson('models', 'stories260K', 'golden.json')
    expect(tokenizer.encode(prompt)).toEqual(ids)
    // The golden text has the space that the decoder strips.
    expect(` ${tokenizer.decode([...ids, ...greedy])}`).toBe(text)
  })
})

function stream(tokenizer: Tokenizer, ids: number[]): string[] {
  const decoder = tokenizer.streamDecoder()
  return [...ids.map((id) => decoder.push(id)), decoder.flush()]
}
