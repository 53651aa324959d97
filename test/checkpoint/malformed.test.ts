import { execFileSync } from 'node:child_process'
import {
  closeSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { CheckpointError, loadModel, NumericError } from 'kvasir'
import { describe, expect, it } from 'vitest'
import { copyOf, type Header, readTensors, temporaryFolder, writeTensors } from './folders.js'

// What a stranger's folder can hold, class by class: each ends in a CheckpointError that says where and what, and the
// process goes on. The reader's own rules are tested one by one, under sanitizers, in test/native/.

const fixture = 'gpt2'

async function problemOf(folder: string): Promise<CheckpointError> {
  const error = await loadModel(folder).then(
    (model) => model.dispose().then(() => new Error('it loaded')),
    (reason) => reason,
  )
  expect(error).toBeInstanceOf(CheckpointError)
  return error
}

/** The error of a fixture whose tensor file was rewritten. */
function withTensors(
  change: (header: Header, data: Buffer) => [Header | string | Buffer, Uint8Array, bigint?],
) {
  const folder = copyOf(fixture)
  const { header, data } = readTensors(folder)
  writeTensors(join(folder, 'model.safetensors'), ...change(header, data))
  return problemOf(folder)
}

function withConfig(changes: Record<string, unknown> | string, name = fixture): Promise<CheckpointError> {
  const folder = copyOf(name)
  const path = join(folder, 'config.json')
  const text =
    typeof changes === 'string'
      ? changes
      : JSON.stringify({ ...JSON.parse(readFileSync(path, 'utf8')), ...changes })
  writeFileSync(path, text)
  return problemOf(folder)
}

const firstTensor = 'h.0.attn.c_attn.bias'

describe('tensor files', () => {
  it('S1: of 0 to 8 bytes', async () => {
    for (let size = 0; size <= 8; size++) {
      const folder = copyOf(fixture)
      writeFileSync(join(folder, 'model.safetensors'), Buffer.alloc(size))
      expect((await problemOf(folder)).code).toMatch(/ERR_FILE_(FORMAT|TRUNCATED)/)
    }
  })

  it.each([
    0n,
    1n,
    10n ** 8n + 1n,
    2n ** 31n - 1n,
    2n ** 32n + 1n,
    2n ** 53n + 1n,
    2n ** 63n,
    2n ** 64n - 1n,
    2n ** 64n - 8n,
  ])('S2: a header length of %s', async (length) => {
    const error = await withTensors((header, data) => [header, data, length])
    expect(error.code).toMatch(/ERR_FILE_(FORMAT|TRUNCATED)/)
    expect(error.problem.file).toContain('model.safetensors')
  })

  it.each([
    ['no object', '[1]'],
    ['a byte order mark', '\ufeff{}'],
    ['invalid UTF-8', Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x7b, 0x7d, 0x7d])],
    ['a NUL', '{"a\0":{}}'],
    ['something behind it', '{} x'],
    ['deep nesting', `{"a":${'['.repeat(1e5)}`],
    ['a dtype that is no string', '{"a":{"dtype":5,"shape":[],"data_offsets":[0,4]}}'],
    ['a number 1e999', '{"a":{"dtype":"F32","shape":[1e999],"data_offsets":[0,4]}}'],
    ['a negative number', '{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}'],
    ['a fraction', '{"a":{"dtype":"F32","shape":[1.5],"data_offsets":[0,4]}}'],
    ['leading zeros', '{"a":{"dtype":"F32","shape":[01],"data_offsets":[0,4]}}'],
    ['a missing field', '{"a":{"dtype":"F32","shape":[1]}}'],
    ['a field twice', '{"a":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}}'],
    [
      'a name twice',
      '{"a":{"dtype":"F32","shape":[],"data_offsets":[0,0]},"\\u0061":{"dtype":"F32","shape":[],"data_offsets":[0,0]}}',
    ],
    ['a rank of 100,000', `{"a":{"dtype":"F32","shape":[${'1,'.repeat(1e5)}1],"data_offsets":[0,4]}}`],
    [
      'an overflowing shape',
      '{"a":{"dtype":"F32","shape":[4294967296,4294967296,4294967296],"data_offsets":[0,0]}}',
    ],
    ['an unknown dtype', '{"a":{"dtype":"Q9","shape":[1],"data_offsets":[0,4]}}'],
  ])('S3 to S8: a header with %s', async (_, text) => {
    const error = await withTensors(() => [text, Buffer.alloc(4)])
    expect(error.code).toMatch(/ERR_FILE_FORMAT|ERR_UNSUPPORTED/)
    expect(error.problem.file).toContain('model.safetensors')
  })

  const range = (header: Header, name = firstTensor) => header[name]!.data_offsets
  it.each<[string, (header: Header, data: Buffer) => void]>([
    ['that end behind the file', (header, data) => range(header).splice(1, 1, data.length + 4)],
    ['that run backwards', (header) => range(header).reverse()],
    ['that overlap', (header) => range(header, 'h.0.attn.c_proj.bias').splice(0, 2, ...range(header))],
    ['a byte too long', (header) => range(header)[1]++],
    ['a byte too short', (header) => range(header)[1]--],
    ['with a hole', (header) => delete header[firstTensor]],
  ])('S6, S7: ranges %s', async (_, change) => {
    const error = await withTensors((header, data) => {
      change(header, data)
      return [header, data]
    })
    expect(error.code).toMatch(/ERR_FILE_(FORMAT|TRUNCATED)/)
  })

  it('S6: bytes that belong to no tensor', async () => {
    const error = await withTensors((header, data) => [header, Buffer.concat([data, Buffer.alloc(4)])])
    expect(error.code).toBe('ERR_FILE_FORMAT')
  })

  it('S8: unaligned data loads', async () => {
    const folder = copyOf(fixture)
    const { header, data } = readTensors(folder)
    const text = JSON.stringify(header)
    writeTensors(join(folder, 'model.safetensors'), text + ' '.repeat(9 - (text.length % 8)), data)
    await using model = await loadModel(folder)
    const golden = JSON.parse(readFileSync(join(folder, 'golden.json'), 'utf8'))
    expect((await model.logits(golden.ids)).data[0]).toBeCloseTo(golden.logits[0], 4)
  })

  it('S8: a dtype that is no float is named', async () => {
    const error = await withTensors((header, data) => {
      header[firstTensor]!.dtype = 'I32'
      return [header, data]
    })
    expect(error).toMatchObject({
      code: 'ERR_UNSUPPORTED',
      problem: { tensor: firstTensor, field: 'dtype', found: 'I32' },
    })
  })

  it('S11: truncated at every 4 KiB', async () => {
    const folder = copyOf(fixture)
    const path = join(folder, 'model.safetensors')
    for (let size = Math.floor((readFileSync(path).length - 1) / 4096) * 4096; size > 0; size -= 4096) {
      truncateSync(path, size)
      expect((await problemOf(folder)).code).toBe('ERR_FILE_TRUNCATED')
    }
  })

  it('S12: a file removed while the model is in use does no harm', async () => {
    const folder = copyOf(fixture)
    await using model = await loadModel(folder)
    const before = await model.logits([1, 2, 3])
    truncateSync(join(folder, 'model.safetensors'), 100)
    rmSync(join(folder, 'model.safetensors'))
    expect((await model.logits([1, 2, 3])).data).toEqual(before.data)
  })

  it('S13: weights that are not numbers end generation with a NumericError', async () => {
    const folder = copyOf(fixture)
    const { header, data } = readTensors(folder)
    new Float32Array(data.buffer, data.byteOffset + header['wte.weight']!.data_offsets[0], 8).fill(Number.NaN)
    writeTensors(join(folder, 'model.safetensors'), header, data)
    await using model = await loadModel(folder)
    await expect(model.complete([0], { maxTokens: 5 })).rejects.toBeInstanceOf(NumericError)
    await expect(model.complete([0], { maxTokens: 5 })).rejects.toMatchObject({ code: 'ERR_NUMERIC' })
  })

  it('S14: a folder, a FIFO, a socket, a device and a sparse terabyte in its place', async () => {
    const replaced = async (put: (path: string) => unknown) => {
      const folder = copyOf(fixture)
      const path = join(folder, 'model.safetensors')
      rmSync(path)
      await put(path)
      return (await problemOf(folder)).code
    }
    expect(await replaced((path) => mkdirSync(path))).toBe('ERR_FILE_FORMAT')
    expect(await replaced((path) => execFileSync('mkfifo', [path]))).toBe('ERR_FILE_FORMAT')
    expect(await replaced((path) => symlinkSync('/dev/zero', path))).toBe('ERR_FILE_FORMAT')
    const server = createServer()
    const socket = await replaced((path) => new Promise<void>((resolve) => server.listen(path, resolve)))
    server.close()
    expect(socket).toMatch(/ERR_FILE_(FORMAT|NOT_FOUND)/)
    const sparse = await replaced((path) => {
      const file = openSync(path, 'w')
      ftruncateSync(file, 2 ** 40)
      closeSync(file)
    })
    expect(sparse).toBe('ERR_FILE_FORMAT')
    expect(await replaced(() => {})).toBe('ERR_FILE_NOT_FOUND')
  })
})

describe('tensors and parameters', () => {
  it('S10: a missing tensor', async () => {
    const error = await withTensors((header, data) => {
      const { [firstTensor]: entry, ...rest } = header
      return [{ ...rest, 'h.0.attn.bias': entry! }, data]
    })
    expect(error).toMatchObject({
      code: 'ERR_FILE_FORMAT',
      problem: { tensor: firstTensor, found: 'nothing' },
    })
  })

  it('S10: a tensor too many', async () => {
    const error = await withTensors((header, data) => {
      return [{ ...header, extra: { dtype: 'F32', shape: [0], data_offsets: [0, 0] } }, data]
    })
    expect(error).toMatchObject({ problem: { tensor: 'extra' } })
  })

  it('S10: a wrong shape', async () => {
    const error = await withTensors((header, data) => {
      header['wte.weight']!.shape.reverse()
      return [header, data]
    })
    expect(error).toMatchObject({
      problem: { tensor: 'wte.weight', field: 'shape', expected: '(67, 36)', found: '(36, 67)' },
    })
    expect(error.message).toBe(`${error.problem.file}: tensor wte.weight must be (67, 36), got (36, 67)`)
  })

  it('S10: tied and untied mistaken for each other', async () => {
    expect(await withConfig({ tie_word_embeddings: false })).toMatchObject({
      problem: { tensor: 'lm_head.weight' },
    })
  })
})

describe('sharded checkpoints', () => {
  /** The fixture in two shards, or with an index of one's own. */
  function sharded(index?: unknown): string {
    const folder = copyOf(fixture)
    const { header, data } = readTensors(folder)
    const names = Object.keys(header)
    const map: Record<string, string> = {}
    for (const shard of [0, 1]) {
      const part: Header = {}
      const pieces: Buffer[] = []
      let offset = 0
      for (const name of names.filter((_, i) => i % 2 === shard)) {
        const { data_offsets, ...entry } = header[name]!
        const piece = data.subarray(...data_offsets)
        part[name] = { ...entry, data_offsets: [offset, offset + piece.length] }
        offset += piece.length
        pieces.push(piece)
        map[name] = `model-0000${shard + 1}-of-00002.safetensors`
      }
      writeTensors(join(folder, `model-0000${shard + 1}-of-00002.safetensors`), part, Buffer.concat(pieces))
    }
    rmSync(join(folder, 'model.safetensors'))
    const text = typeof index === 'string' ? index : JSON.stringify(index ?? { weight_map: map })
    writeFileSync(join(folder, 'model.safetensors.index.json'), text)
    return folder
  }

  it('load', async () => {
    const folder = sharded()
    await using model = await loadModel(folder)
    const golden = JSON.parse(readFileSync(join(folder, 'golden.json'), 'utf8'))
    expect((await model.logits(golden.ids)).data[5]).toBeCloseTo(golden.logits[5], 4)
  })

  it.each<[string, unknown]>([
    ['is no JSON', '{'],
    ['has no map', {}],
    ['has a list for a map', { weight_map: [] }],
    ['names a number', { weight_map: { a: 5 } }],
    ['names a shard that is not there', { weight_map: { a: 'model-3.safetensors' } }],
    ['climbs out', { weight_map: { a: '../model.safetensors' } }],
    ['climbs out in the middle', { weight_map: { a: 'x/../../model.safetensors' } }],
    ['names an absolute path', { weight_map: { a: '/dev/zero' } }],
    ['names nothing', { weight_map: { a: '' } }],
    ['names a path with a NUL', { weight_map: { a: 'a\0b' } }],
    ['names its own folder', { weight_map: { a: '.' } }],
    ['names itself', { weight_map: { a: 'model.safetensors.index.json' } }],
    [
      'puts a tensor into a shard that lacks it',
      { weight_map: { nothing: 'model-00001-of-00002.safetensors' } },
    ],
  ])('S9: whose index %s', async (_, index) => {
    expect((await problemOf(sharded(index))).code).toMatch(/ERR_FILE_(FORMAT|NOT_FOUND)/)
  })

  it('S9: whose shard is a link out of the folder', async () => {
    const folder = sharded()
    const outside = join(temporaryFolder(), 'shard.safetensors')
    const name = 'model-00001-of-00002.safetensors'
    writeFileSync(outside, readFileSync(join(folder, name)))
    rmSync(join(folder, name))
    symlinkSync(outside, join(folder, name))
    expect((await problemOf(folder)).message).toContain('link out of the folder')
  })

  it('S9: whose shards both hold a tensor', async () => {
    const folder = sharded()
    const copy = readFileSync(join(folder, 'model-00001-of-00002.safetensors'))
    writeFileSync(join(folder, 'model-00002-of-00002.safetensors'), copy)
    expect((await problemOf(folder)).message).toContain('is also in')
  })
})

describe('config.json', () => {
  it.each<[string, Record<string, unknown> | string]>([
    ['is no JSON', '{'],
    ['is a list', '[]'],
    ['is empty', ''],
    ['has no type', { model_type: undefined }],
    ['has a number for a type', { model_type: 5 }],
    ['has no heads', { n_head: 0 }],
    ['has heads that do not divide the width', { n_head: 5 }],
    ['has half a layer', { n_layer: 1.5 }],
    ['has a billion layers', { n_layer: 1e9 }],
    ['has no vocabulary', { vocab_size: 0 }],
    ['has a vocabulary of 2^31', { vocab_size: 2 ** 31 }],
    ['has a negative width', { n_embd: -36 }],
    ['has text for a width', { n_embd: '36' }],
    ['has an unknown activation', { activation_function: 'quick_gelu_9' }],
    ['has a strange epsilon', { layer_norm_epsilon: 'small' }],
    ['has a strange end token', { eos_token_id: 'end' }],
  ])('S10: %s', async (_, changes) => {
    expect((await withConfig(changes)).code).toMatch(/ERR_FILE_FORMAT|ERR_UNSUPPORTED/)
  })

  it.each<[string, Record<string, unknown>]>([
    ['kv heads that do not divide', { num_key_value_heads: 3 }],
    ['no kv heads', { num_key_value_heads: 0 }],
    ['a theta of 0', { rope_theta: 0 }],
    ['a theta that is text', { rope_theta: 'NaN' }],
    ['an unknown rope type', { rope_scaling: { rope_type: 'spiral', factor: 2 } }],
    ['a factor of 0', { rope_scaling: { rope_type: 'linear', factor: 0 } }],
    ['an odd head size', { head_dim: 9 }],
  ])('S10, llama: %s', async (_, changes) => {
    expect((await withConfig(changes, 'llama')).code).toMatch(/ERR_FILE_FORMAT|ERR_UNSUPPORTED/)
  })

  it('of an unknown family lists the known ones and shows registerModel', async () => {
    const { message, code } = await withConfig({ model_type: 'mamba' })
    expect(code).toBe('ERR_UNSUPPORTED')
    expect(message).toContain('gpt2, gpt_neo, gpt_neox, gptj, kvasir_decoder, llama')
    expect(message).toContain("registerModel('mamba', MyModel)")
  })

  it('larger than a megabyte is not read', async () => {
    expect((await withConfig(`{"a":"${'x'.repeat(2 ** 20)}"}`)).message).toContain('at most 1048576 bytes')
  })
})
