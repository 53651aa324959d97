import { existsSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { loadModel } from 'kvasir'
import { afterAll, describe, expect, it } from 'vitest'
import { Checkpoint } from '#kvasir/checkpoint/checkpoint.js'
import { convertModel } from '#kvasir/convert-model.js'
import { randomFolder } from '../engine/models.js'
import { copyOf, readTensors, temporaryFolder, writeTensors } from './folders.js'

const families = {
  gpt2: { model_type: 'gpt2', vocab_size: 75, n_positions: 32, n_embd: 64, n_layer: 2, n_head: 4 },
  llama: {
    model_type: 'llama',
    vocab_size: 70,
    max_position_embeddings: 32,
    hidden_size: 96,
    intermediate_size: 160,
    num_hidden_layers: 2,
    num_attention_heads: 6,
    num_key_value_heads: 2,
    rms_norm_eps: 1e-5,
    tie_word_embeddings: false,
  },
  qwen3_moe: {
    model_type: 'qwen3_moe',
    vocab_size: 70,
    max_position_embeddings: 32,
    hidden_size: 96,
    intermediate_size: 160,
    moe_intermediate_size: 64,
    num_experts: 5,
    num_experts_per_tok: 2,
    num_hidden_layers: 2,
    num_attention_heads: 6,
    num_key_value_heads: 2,
    mlp_only_layers: [1],
  },
} as const

const made: string[] = []
afterAll(() => {
  for (const folder of made) rmSync(folder, { recursive: true, force: true })
})

async function randomModel(config: Record<string, unknown>): Promise<string> {
  const folder = await randomFolder(config)
  made.push(folder)
  return folder
}

async function logitsOf(folder: string, dtype: 'auto' | 'q8' | 'q4' | 'f16'): Promise<number[]> {
  await using model = await loadModel(folder, { dtype, device: 'cpu' })
  return [...(await model.logits([5, 11, 60, 2, 2, 31])).data]
}

const ids = { threads: 2 }

describe.each(Object.entries(families))('convert, %s', (_, config) => {
  it.each(['q8', 'q4', 'f16'] as const)('writes %s that loads to the same numbers', async (dtype) => {
    const [source, target] = [await randomModel(config), join(temporaryFolder(), 'converted')]
    writeFileSync(join(source, 'notes.txt'), 'kept')
    const converted = await convertModel(source, target, { dtype, ...ids })
    expect(converted.bytes).toBeLessThan(0.6 * converted.sourceBytes)
    expect(converted.types[dtype]).toBeGreaterThan(4)
    expect(readdirSync(target).sort()).toEqual(['config.json', 'model.safetensors', 'notes.txt'])
    expect(await logitsOf(target, 'auto')).toEqual(await logitsOf(source, dtype))
  })

  it('writes what is already converted once more', async () => {
    const [source, first, second] = [await randomModel(config), temporaryFolder(), temporaryFolder()]
    await convertModel(source, first, { dtype: 'q8', ...ids })
    await convertModel(first, second, { dtype: 'q8', ...ids })
    expect(readTensors(second)).toEqual(readTensors(first))
  })
})

describe('convert', () => {
  it('leaves matrices of incomplete blocks as they are', async () => {
    const target = join(temporaryFolder(), 'converted')
    const { types } = await convertModel(copyOf('gpt2'), target, { dtype: 'q8', ...ids })
    expect(Object.keys(types)).toEqual(['f32'])
    expect(await logitsOf(target, 'auto')).toEqual(await logitsOf(copyOf('gpt2'), 'auto'))
  })

  it('refuses a folder that holds something, and leaves nothing where it fails', async () => {
    const source = await randomModel(families.gpt2)
    const target = temporaryFolder()
    writeFileSync(join(target, 'mine'), '')
    const options = { dtype: 'q8', ...ids } as const
    await expect(convertModel(source, target, options)).rejects.toMatchObject({
      code: 'ERR_INVALID_ARG_VALUE',
    })
    const [aborted, missing] = [join(temporaryFolder(), 'a'), join(temporaryFolder(), 'b')]
    await expect(
      convertModel(source, aborted, { ...options, signal: AbortSignal.abort(new Error('no')) }),
    ).rejects.toThrow('no')
    await expect(convertModel(temporaryFolder(), missing, options)).rejects.toMatchObject({
      code: 'ERR_FILE_NOT_FOUND',
    })
    for (const path of [aborted, missing])
      expect([existsSync(path), existsSync(`${path}.unfinished`)]).toEqual([false, false])
  })
})

describe('tensors in blocks', () => {
  const blocks = (type: string, shape: number[], metadata: Record<string, string>, dtype = 'U8') => {
    const folder = temporaryFolder()
    const bytes = shape.reduce((product, size) => product * size, dtype === 'U8' ? 1 : 4)
    const header = { __metadata__: metadata, w: { dtype, shape, data_offsets: [0, bytes] } }
    writeTensors(join(folder, 'model.safetensors'), JSON.stringify(header), Buffer.alloc(bytes))
    return { type, folder }
  }

  it('have the type and the shape of their numbers', async () => {
    for (const [type, bytes, dtype] of [
      ['q8', 34, 'Q8_0'],
      ['q4', 20, 'Q4_1'],
    ] as const) {
      const { folder } = blocks(type, [3, 2 * bytes], { 'kvasir.blocks:w': type })
      const checkpoint = await Checkpoint.open(folder)
      expect(checkpoint.tensors.get('w')!.entry).toMatchObject({ dtype, shape: [3, 64], bytes: 6 * bytes })
      checkpoint.close()
    }
  })

  it.each([
    ['an unknown type', [3, 34], { 'kvasir.blocks:w': 'q7' }],
    ['no such tensor', [3, 34], { 'kvasir.blocks:v': 'q8' }],
    ['a row of no whole blocks', [3, 35], { 'kvasir.blocks:w': 'q8' }],
    ['an empty row', [3, 0], { 'kvasir.blocks:w': 'q8' }],
    ['three dimensions', [3, 1, 34], { 'kvasir.blocks:w': 'q8' }],
    ['a vector', [34], { 'kvasir.blocks:w': 'q8' }],
    ['floats', [3, 34], { 'kvasir.blocks:w': 'q8' }, 'F32'],
  ])('are refused for %s', async (_, shape, metadata, dtype?: string) => {
    const { folder } = blocks('', shape, metadata as Record<string, string>, dtype)
    await expect(Checkpoint.open(folder)).rejects.toMatchObject({
      name: 'CheckpointError',
      code: 'ERR_FILE_FORMAT',
    })
  })
})
