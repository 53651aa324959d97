import { join } from 'node:path'
import { loadModel } from 'kvasir'
import { describe, expect, it } from 'vitest'
import { convertModel } from '#kvasir/convert-model.js'
import { randomFolder } from '../engine/models.js'
import type { Header } from './folders.js'
import { copyOf, readTensors, temporaryFolder, writeTensors } from './folders.js'

const phi3 = {
  model_type: 'phi3',
  vocab_size: 70,
  max_position_embeddings: 32,
  hidden_size: 96,
  intermediate_size: 64,
  num_hidden_layers: 2,
  num_attention_heads: 6,
  num_key_value_heads: 2,
}

/** Puts the rows of tensors that lie side by side in the file under one name, as Phi-3's checkpoints have them. */
function fuse(folder: string, tensor: string, parts: string[]): void {
  const { header, data } = readTensors(folder)
  const fused: Header = {}
  const bytes: Buffer[] = []
  let offset = 0
  const add = (name: string, dtype: string, shape: number[], content: Buffer) => {
    fused[name] = { dtype, shape, data_offsets: [offset, offset + content.length] }
    offset += content.length
    bytes.push(content)
  }
  const contentOf = (name: string) => data.subarray(...header[name]!.data_offsets)
  for (const [name, { dtype, shape }] of Object.entries(header)) {
    const index = parts.findIndex((part) => name.includes(`.${part}.`))
    if (index < 0) add(name, dtype, shape, contentOf(name))
    if (index !== 0) continue
    const names = parts.map((part) => name.replace(parts[0]!, part))
    const rows = names.reduce((sum, own) => sum + header[own]!.shape[0]!, 0)
    add(
      name.replace(parts[0]!, tensor),
      dtype,
      [rows, ...shape.slice(1)],
      Buffer.concat(names.map(contentOf)),
    )
  }
  writeTensors(join(folder, 'model.safetensors'), fused, Buffer.concat(bytes))
}

async function fusedPhi3(): Promise<string> {
  const folder = await randomFolder(phi3)
  fuse(folder, 'qkv_proj', ['q_proj', 'k_proj', 'v_proj'])
  fuse(folder, 'gate_up_proj', ['gate_proj', 'up_proj'])
  return folder
}

async function logitsOf(folder: string, dtype: 'auto' | 'bf16' | 'q8' = 'auto'): Promise<Float32Array> {
  await using model = await loadModel(folder, { dtype, device: 'cpu' })
  return (await model.logits([5, 11, 50, 2, 2, 31])).data
}

describe('a tensor of several parameters', () => {
  it('gives them the numbers that tensors of their own would', async () => {
    const [apart, fused] = [await randomFolder(phi3), await fusedPhi3()]
    for (const dtype of ['auto', 'bf16', 'q8'] as const)
      expect(await logitsOf(fused, dtype)).toEqual(await logitsOf(apart, dtype))
  })

  it('is converted once', async () => {
    const [fused, target] = [await fusedPhi3(), join(temporaryFolder(), 'converted')]
    await convertModel(fused, target, { dtype: 'q8', threads: 2 })
    expect(Object.keys(readTensors(target).header).sort()).toEqual(
      ['__metadata__', ...Object.keys(readTensors(fused).header)].sort(),
    )
    expect(await logitsOf(target)).toEqual(await logitsOf(fused, 'q8'))
  })

  it('must have the rows of all of them', async () => {
    const folder = await fusedPhi3()
    const { header, data } = readTensors(folder)
    const entry = header['layers.0.self_attn.qkv_proj.weight']!
    entry.shape = [entry.shape[0]! / 2, entry.shape[1]! * 2]
    writeTensors(join(folder, 'model.safetensors'), header, data)
    await expect(loadModel(folder)).rejects.toMatchObject({
      code: 'ERR_FILE_FORMAT',
      message: expect.stringContaining('layers.0.self_attn.qkv_proj.weight must be (160, 96), got (80, 192)'),
    })
  })

  it('may not be there beside what it holds', async () => {
    const folder = await fusedPhi3()
    const { header, data } = readTensors(folder)
    const { shape, data_offsets } = header['layers.0.self_attn.o_proj.weight']!
    header['layers.0.self_attn.q_proj.weight'] = {
      dtype: 'F32',
      shape,
      data_offsets: [data.length, data.length + data_offsets[1] - data_offsets[0]],
    }
    const more = Buffer.alloc(data_offsets[1] - data_offsets[0])
    writeTensors(join(folder, 'model.safetensors'), header, Buffer.concat([data, more]))
    await expect(loadModel(folder)).rejects.toMatchObject({
      code: 'ERR_FILE_FORMAT',
      message: expect.stringContaining('layers.0.self_attn.q_proj.weight belongs to no parameter'),
    })
  })
})

describe('norms that a file holds less 1', () => {
  it('stay so where it is converted', async () => {
    const target = join(temporaryFolder(), 'converted')
    await convertModel(copyOf('gemma'), target, { dtype: 'f16', threads: 2 })
    const [found, expected] = [await logitsOf(target, 'auto'), await logitsOf(copyOf('gemma'), 'auto')]
    expect(Math.max(...found.map((x, i) => Math.abs(x - expected[i]!)))).toBeLessThan(0.05)
  })
})
