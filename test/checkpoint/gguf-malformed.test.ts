import { closeSync, ftruncateSync, openSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { CheckpointError, loadModel } from 'kvasir'
import { describe, expect, it } from 'vitest'
import { addon } from '#kvasir/native/addon.js'
import { temporaryFolder } from './folders.js'
import { smallLlama } from './gguf-model.js'
import type { Contents, Tensor, Value } from './gguf-writer.js'
import { gguf, number, text } from './gguf-writer.js'

// What a stranger's file can hold, class by class: each ends in a CheckpointError that says where and what, and the
// process goes on.

const folder = temporaryFolder()
const path = join(folder, 'model.gguf')

async function problemOf(bytes: Uint8Array, at = path): Promise<CheckpointError> {
  writeFileSync(at, bytes)
  const error = await loadModel(at, { device: 'cpu' }).then(
    (model) => model.dispose().then(() => new Error('it loaded')),
    (reason) => reason,
  )
  expect(error).toBeInstanceOf(CheckpointError)
  return error
}

/** The error of the small model after a change. */
function withChange(change: (contents: Contents) => void): Promise<CheckpointError> {
  const contents = smallLlama()
  change(contents)
  return problemOf(gguf(contents))
}

const withValue = (...value: Value) =>
  withChange(({ values }) => {
    const at = values.findIndex(([key]) => key === value[0])
    if (at >= 0) values[at] = value
    else values.push(value)
  })
const withTensor = (name: string, changes: Partial<Tensor>) =>
  withChange(({ tensors }) => Object.assign(tensors.find((tensor) => tensor.name === name)!, changes))

const formatErrors = /^ERR_(FILE_FORMAT|FILE_TRUNCATED|UNSUPPORTED)$/

describe('a GGUF file', () => {
  it('loads as it is written here', async () => {
    writeFileSync(path, gguf(smallLlama()))
    await using model = await loadModel(path, { device: 'cpu' })
    expect(model.vocabSize).toBe(40)
    const ids = await model.tokenize('abcd')
    expect(await model.detokenize(ids)).toBe('abcd')
    expect((await model.complete('abcd', { maxTokens: 3, ignoreEos: true })).ids).toHaveLength(3)
  })

  it.each([2, 3])('loads in version %i', async (version) => {
    writeFileSync(path, gguf({ ...smallLlama(), version }))
    await using model = await loadModel(path, { device: 'cpu' })
    expect(model.config.model_type).toBe('llama')
  })

  it('loads without a vocabulary, and takes ids', async () => {
    const contents = smallLlama()
    contents.values = contents.values.filter(([key]) => !key.startsWith('tokenizer.'))
    writeFileSync(path, gguf(contents))
    await using model = await loadModel(path, { device: 'cpu' })
    expect(model.info.hasTokenizer).toBe(false)
    expect((await model.complete([1, 2, 3], { maxTokens: 2, ignoreEos: true })).ids).toHaveLength(2)
  })

  it('divides rotary frequencies by a tensor of its own, as LLaMA 3.1 has it', async () => {
    const logitsWith = async (divisors: number[] | null, scaling: Value[] = []) => {
      const contents = smallLlama()
      contents.values.push(...scaling)
      const data = new Uint8Array(Float32Array.from(divisors ?? []).buffer)
      if (divisors)
        contents.tensors.push({ name: 'rope_freqs.weight', dims: [divisors.length], type: 0, data })
      writeFileSync(path, gguf(contents))
      await using model = await loadModel(path, { device: 'cpu' })
      return (await model.logits([3, 4, 5, 6, 7, 8])).data
    }
    const linear: Value[] = [
      ['llama.rope.scaling.type', 'string', 'linear'],
      ['llama.rope.scaling.factor', 'f32', 8],
    ]
    const plain = await logitsWith(null)
    expect(await logitsWith([1, 1, 1, 1])).toEqual(plain)
    expect(await logitsWith([8, 8, 8, 8])).toEqual(await logitsWith(null, linear))
    expect(await logitsWith([1, 2, 4, 8])).not.toEqual(plain)
    for (const divisors of [
      [1, 1, 1],
      [1, 1, 1, 0],
      [1, 1, 1, Number.NaN],
    ])
      await expect(logitsWith(divisors)).rejects.toThrow(CheckpointError)
  })

  it('of another format, or empty', async () => {
    for (const bytes of ['', 'G', 'GGU', 'GGUF', 'GGJT and more', '{"a":1}      '])
      expect((await problemOf(Buffer.from(bytes))).code).toMatch(formatErrors)
  })

  it.each([0, 1, 4, 0x03000000, 2 ** 32 - 1])('of version %i', async (version) => {
    const error = await problemOf(gguf({ ...smallLlama(), version }))
    expect(error).toMatchObject({ code: 'ERR_UNSUPPORTED', problem: { field: 'version' } })
  })

  it('cut off anywhere', async () => {
    const bytes = gguf(smallLlama())
    for (let size = 0; size < bytes.length; size += size < 2200 ? 37 : 1531)
      expect((await problemOf(bytes.subarray(0, size))).code, `${size} bytes`).toMatch(formatErrors)
  })
})

describe('counts and lengths in a GGUF file', () => {
  const many = [2n ** 16n, 2n ** 16n + 1n, 2n ** 31n, 2n ** 32n, 2n ** 63n, 2n ** 64n - 1n]

  it.each(many)('%i tensors, or values', async (count) => {
    const { values, tensors } = smallLlama()
    const rightTensors = BigInt(tensors.length)
    const rightValues = BigInt(values.length)
    for (const counts of [
      [count, rightValues],
      [rightTensors, count],
    ] as [bigint, bigint][])
      expect((await problemOf(gguf({ values, tensors, counts }))).code).toMatch(formatErrors)
  })

  it('none of either', async () => {
    for (const counts of [
      [0n, 14n],
      [11n, 0n],
      [0n, 0n],
    ] as [bigint, bigint][])
      expect((await problemOf(gguf({ ...smallLlama(), counts }))).code).toMatch(formatErrors)
  })

  it.each(many)('strings and keys of %i bytes', async (length) => {
    const long = Buffer.concat([number('u64', length), Buffer.from('abc')])
    expect((await withValue('general.name', 'string', long)).code).toMatch(formatErrors)
    const [tensors, values] = [number('u64', 0), number('u64', 1)]
    const file = Buffer.concat([Buffer.from('GGUF'), number('u32', 3), tensors, values, long])
    expect((await problemOf(file)).code).toMatch(formatErrors)
  })

  it.each(many)('arrays of %i numbers, or strings', async (count) => {
    for (const element of [0, 6, 8, 12]) {
      const array = Buffer.concat([number('u32', element), number('u64', count), Buffer.alloc(64)])
      expect((await withValue('general.tags', 'array', array)).code).toMatch(formatErrors)
    }
  })

  it('arrays of arrays', async () => {
    const inner = Buffer.concat([number('u32', 9), number('u64', 1), number('u32', 0), number('u64', 0)])
    const error = await withValue('general.tags', 'array', inner)
    expect(error).toMatchObject({ code: 'ERR_UNSUPPORTED', problem: { field: 'general.tags' } })
  })

  it('types that values do not have', async () => {
    for (const type of [13, 255, 2 ** 32 - 1]) {
      expect((await withValue('general.name', type, Buffer.alloc(8))).code).toBe('ERR_FILE_FORMAT')
      const array = Buffer.concat([number('u32', type), number('u64', 1), Buffer.alloc(8)])
      expect((await withValue('general.name', 'array', array)).code).toBe('ERR_FILE_FORMAT')
    }
    expect((await withValue('general.flag', 'bool', 2)).code).toBe('ERR_FILE_FORMAT')
  })

  it('keys given twice, text that is no UTF-8', async () => {
    const twice = await withChange(({ values }) => values.push(['general.architecture', 'string', 'gpt2']))
    expect(twice).toMatchObject({ code: 'ERR_FILE_FORMAT', problem: { field: 'metadata' } })
    for (const bytes of [[0xff], [0xc0, 0x80], [0xed, 0xa0, 0x80], [0xf4, 0x90, 0x80, 0x80], [0xe2, 0x82]])
      expect((await withValue('general.name', 'string', text(Buffer.from(bytes)))).code).toBe(
        'ERR_FILE_FORMAT',
      )
  })
})

describe("a GGUF file's values", () => {
  it.each([
    ['general.architecture', 'u32', 1],
    ['general.architecture', 'string', 'mamba'],
    ['general.architecture', 'string', '__proto__'],
    ['llama.block_count', 'string', '1'],
    ['llama.block_count', 'i32', -1],
    ['llama.block_count', 'u32', 0],
    ['llama.block_count', 'u32', 2 ** 32 - 1],
    ['llama.block_count', 'f32', 1.5],
    ['llama.embedding_length', 'u32', 0],
    ['llama.embedding_length', 'u64', 2n ** 63n],
    ['llama.attention.head_count', 'u32', 0],
    ['llama.attention.head_count', 'u32', 3],
    ['llama.attention.head_count_kv', 'u32', 0],
    ['llama.attention.head_count_kv', 'u32', 3],
    ['llama.attention.head_count_kv', 'array', ['u32', [2, 2]]],
    ['llama.attention.key_length', 'u32', 7],
    ['llama.attention.value_length', 'u32', 16],
    ['llama.attention.layer_norm_rms_epsilon', 'f32', Number.NaN],
    ['llama.attention.layer_norm_rms_epsilon', 'f32', 0],
    ['llama.rope.dimension_count', 'u32', 7],
    ['llama.rope.freq_base', 'f32', Number.POSITIVE_INFINITY],
    ['llama.rope.scaling.type', 'string', 'longrope'],
    ['llama.rope.scaling.type', 'string', 'linear'],
    ['llama.context_length', 'u32', 0],
    ['llama.expert_count', 'u32', 8],
  ] as Value[])('%s as %s %s', async (...value) => {
    expect((await withValue(...value)).code).toMatch(formatErrors)
  })

  it.each([0, 1, 3, 4, 2 ** 31, 2 ** 32 - 1])('an alignment of %i', async (alignment) => {
    const error = await withValue('general.alignment', 'u32', alignment)
    expect(error).toMatchObject({ code: 'ERR_FILE_FORMAT', problem: { field: 'general.alignment' } })
  })

  it('an alignment of another type', async () => {
    expect((await withValue('general.alignment', 'u64', 32)).code).toBe('ERR_FILE_FORMAT')
  })
})

describe("a GGUF file's tensors", () => {
  const name = 'blk.0.attn_q.weight'

  it.each([
    ['no dimensions', []],
    ['five', [32, 1, 1, 1, 1]],
    ['one of none', [32, 0]],
    ['negative ones', [32, 2n ** 64n - 32n]],
    ['a product that wraps to what is there', [32, 2n ** 59n + 32n]],
    ['more than the file', [32, 2n ** 40n]],
    ['others than the model', [32, 16]],
  ])('with %s', async (_, dims) => {
    const error = await withTensor(name, { dims })
    expect(error.code).toMatch(formatErrors)
    expect(error.problem.tensor).toBe(name)
  })

  it.each([4, 5, 31, 33, 36, 38, 40, 2 ** 32 - 1])('of type %i, removed or unknown', async (type) => {
    const error = await withTensor(name, { type })
    expect(error).toMatchObject({ code: 'ERR_UNSUPPORTED', problem: { tensor: name, field: 'type' } })
  })

  it.each([9, 16, 26, 28])('of type %i, which is not loaded', async (type) => {
    expect((await withTensor(name, { type, data: new Uint8Array(64 * 1024) })).code).toMatch(formatErrors)
  })

  it('with rows that are no whole blocks', async () => {
    for (const type of [12, 14]) expect((await withTensor(name, { type })).problem.field).toBe('row')
  })

  it.each([
    ['not aligned', 1],
    ['not aligned', 16],
    ['beyond the end', 2 ** 40],
    ['beyond the end', 2n ** 64n - 32n],
    ["another's", 0],
  ])('that lie where they must not: %s', async (_, offset) => {
    const error = await withTensor(name, { offset })
    expect(error.code).toMatch(formatErrors)
  })

  it('one byte past the end', async () => {
    const bytes = gguf(smallLlama())
    expect((await problemOf(bytes.subarray(0, bytes.length - 1))).code).toBe('ERR_FILE_TRUNCATED')
  })

  it('with one name', async () => {
    const error = await withTensor(name, { name: 'blk.0.attn_k.weight' })
    expect(error).toMatchObject({ code: 'ERR_FILE_FORMAT', problem: { field: 'name' } })
  })

  it('missing, or of no parameter', async () => {
    expect((await withTensor(name, { name: 'blk.0.attn_q' })).code).toBe('ERR_FILE_FORMAT')
    expect((await withTensor(name, { name: 'blk.7.attn_q.weight' })).code).toBe('ERR_FILE_FORMAT')
    expect((await withTensor(name, { name: '' })).code).toBe('ERR_FILE_FORMAT')
    expect((await withTensor(name, { name: 'x'.repeat(300) })).code).toBe('ERR_FILE_FORMAT')
  })

  it.each([0x7e00, 0x7c00, 0xfc00])('with a scale of bits %i, which is not finite', async (scale) => {
    const blocks = Buffer.alloc(32 * 34, 1) // Q8_0
    blocks.writeUInt16LE(scale, 17 * 34)
    const error = await withTensor(name, { type: 8, data: blocks })
    expect(error).toMatchObject({ code: 'ERR_FILE_FORMAT', problem: { tensor: name, field: 'values' } })
  })
})

describe("a GGUF file's vocabulary", () => {
  it.each([
    ['tokenizer.ggml.model', 'string', 'bert'],
    ['tokenizer.ggml.tokens', 'array', ['u32', [1, 2]]],
    ['tokenizer.ggml.tokens', 'array', ['string', []]],
    ['tokenizer.ggml.scores', 'array', ['f32', [1, 2, 3]]],
    ['tokenizer.ggml.scores', 'array', ['f32', new Array(40).fill(Number.NaN)]],
    ['tokenizer.ggml.token_type', 'array', ['i32', [1]]],
    ['tokenizer.ggml.bos_token_id', 'u32', 40],
    ['tokenizer.ggml.eos_token_id', 'u32', 2 ** 32 - 1],
    ['tokenizer.ggml.add_bos_token', 'u32', 1],
  ] as Value[])('%s as %s %s', async (...value) => {
    expect((await withValue(...value)).code).toMatch(formatErrors)
  })

  it('merges of tokens that are not there, of one token, in a circle', async () => {
    const merged = (merges: string[]) =>
      withChange(({ values }) => {
        values.find(([key]) => key === 'tokenizer.ggml.model')![2] = 'gpt2'
        values.push(['tokenizer.ggml.merges', 'array', ['string', merges]])
      })
    for (const merges of [['a z'], ['a'], ['a b c'], ['ab ab']])
      expect((await merged(merges)).code).toMatch(formatErrors)
  })

  it('a cut that is not known', async () => {
    const error = await withChange(({ values }) => {
      values.find(([key]) => key === 'tokenizer.ggml.model')![2] = 'gpt2'
      values.push(['tokenizer.ggml.merges', 'array', ['string', ['a b']]])
      values.push(['tokenizer.ggml.pre', 'string', 'constructor'])
    })
    expect(error).toMatchObject({ code: 'ERR_UNSUPPORTED', problem: { field: 'tokenizer.ggml.pre' } })
  })
})

describe('a split GGUF file', () => {
  const part = (no: number, count: number) => join(folder, `m-0000${no}-of-0000${count}.gguf`)
  const split = (no: number, tensors: Tensor[], changes: Value[] = []): Uint8Array => {
    const { values } = smallLlama()
    const parts: Value[] = [
      ['split.no', 'u16', no],
      ['split.count', 'u16', 2],
      ['split.tensors.count', 'i32', 11],
    ]
    const changed = parts.map((value) => changes.find(([key]) => key === value[0]) ?? value)
    return gguf({ values: no === 0 ? [...values, ...changed] : changed, tensors })
  }
  const { tensors } = smallLlama()
  const halves = [tensors.slice(0, 5), tensors.slice(5)] as const

  it('loads from its first part', async () => {
    writeFileSync(part(1, 2), split(0, halves[0]))
    writeFileSync(part(2, 2), split(1, halves[1]))
    await using model = await loadModel(part(1, 2), { device: 'cpu' })
    expect((await model.complete([1, 2], { maxTokens: 2, ignoreEos: true })).ids).toHaveLength(2)
  })

  it('without, with a wrong or a foreign part', async () => {
    const first = split(0, halves[0])
    for (const second of [
      split(0, halves[1]),
      split(1, halves[1], [['split.count', 'u16', 3]]),
      split(1, halves[0]),
      split(1, halves[1].slice(1)),
      gguf({ values: [], tensors: halves[1] }),
      Buffer.from('not a GGUF file'),
    ]) {
      writeFileSync(part(2, 2), second)
      expect((await problemOf(first, part(1, 2))).code).toMatch(formatErrors)
    }
    expect((await problemOf(split(1, halves[1]), part(2, 2))).message).toMatch(/first part/)
    expect((await problemOf(first, join(folder, 'other.gguf'))).message).toMatch(/00001-of-00002/)
    const many = split(0, halves[0], [['split.count', 'u16', 65_535]])
    expect((await problemOf(many, part(1, 2))).code).toBe('ERR_FILE_FORMAT')
    writeFileSync(join(folder, 'm-00001-of-00003.gguf'), '')
    const three = split(0, halves[0], [['split.count', 'u16', 3]])
    expect((await problemOf(three, part(1, 3))).code).toBe('ERR_FILE_NOT_FOUND')
  })
})

describe('a hostile GGUF file', () => {
  it('is refused in little time and memory', () => {
    // 64 MB of header: of keys, of strings in arrays, of tensors.
    const fill = (head: Buffer, unit: Buffer, counts: [bigint, bigint]) => {
      const start = Buffer.concat([
        Buffer.from('GGUF'),
        number('u32', 3),
        number('u64', counts[0]),
        number('u64', counts[1]),
        head,
      ])
      return Buffer.concat([start, Buffer.alloc(2 ** 26, unit)])
    }
    const key = Buffer.concat([text('k'.repeat(1000)), number('u32', 0), number('u8', 0)])
    const strings = Buffer.concat([text('k'), number('u32', 9), number('u32', 8), number('u64', 2n ** 23n)])
    const tensor = Buffer.concat([
      text('t'),
      number('u32', 1),
      number('u64', 1),
      number('u32', 0),
      number('u64', 0),
    ])
    for (const bytes of [
      fill(Buffer.alloc(0), key, [0n, 65_536n]),
      fill(strings, number('u64', 0), [0n, 1n]),
      fill(Buffer.alloc(0), tensor, [65_536n, 0n]),
    ]) {
      writeFileSync(path, bytes)
      const before = process.memoryUsage.rss()
      expect(() => new (addon().CheckpointFile)(path)).toThrow(
        expect.objectContaining({ code: 'ERR_FILE_FORMAT' }),
      )
      expect(process.memoryUsage.rss() - before).toBeLessThan(64 * 2 ** 20)
    }
  })

  it('of 8 TiB of zeros is refused', () => {
    const file = openSync(path, 'w')
    ftruncateSync(file, 2 ** 43)
    closeSync(file)
    expect(() => new (addon().CheckpointFile)(path)).toThrow(
      expect.objectContaining({ code: 'ERR_FILE_FORMAT' }),
    )
  })
})
