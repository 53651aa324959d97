import type { FileHandle } from 'node:fs/promises'
import { copyFile, mkdir, open, readdir, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { CheckpointError, invalidValue } from '../errors.js'
import type { DType } from '../graph/graph.js'
import { isBlocked } from '../graph/graph.js'
import { optimize } from '../graph/passes/index.js'
import { modelFor } from '../models/registry.js'
import type { Backend } from '../native/addon.js'
import { addon } from '../native/addon.js'
import { parameters, record } from '../nn/index.js'
import { Checkpoint } from './checkpoint.js'
import { isGgufFile } from './gguf/gguf-files.js'
import type { MatchedTensor } from './match.js'
import { matchParameters } from './match.js'
import { readModelConfig } from './model-config.js'

export interface ConvertOptions {
  /** What matrices are to be held in. */
  dtype: Exclude<DType, 'i32'>
  threads: number
  signal?: AbortSignal
  onProgress?: (progress: { loadedBytes: number; totalBytes: number }) => void
}

export interface Converted {
  /** Bytes of all tensors, before and after. */
  sourceBytes: number
  bytes: number
  /** How many tensors are held in each type. */
  types: Record<string, number>
}

const blockColumns = 32
const blockBytes = { q8: 34, q4: 20 } as const
const floatBytes = { f32: 4, f16: 2, bf16: 2 } as const
/** Files that hold weights, which the new folder has its own of. */
const weightFiles =
  /\.(safetensors|safetensors\.index\.json|bin|bin\.index\.json|pt|pth|gguf|onnx|h5|msgpack)$/

/** A tensor of the new file. */
interface Output {
  name: string
  source: MatchedTensor
  dtype: Exclude<DType, 'i32'>
  rows: number
  cols: number
  shape: readonly number[]
  bytes: number
}

/**
 * Writes a model whose matrices are held in another type to a new folder in Hugging Face layout, which loads without
 * being converted again: one safetensors file, and what else the old folder has. Matrices in blocks are written row by row
 * as bytes, and named in the file's metadata. Never holds more than one tensor.
 *
 * @throws {CheckpointError} when the model cannot be read, or the new folder exists
 */
export async function convertModel(
  source: string,
  target: string,
  options: ConvertOptions,
): Promise<Converted> {
  if (await isGgufFile(source)) {
    const message = `convert: ${source} is a GGUF file, whose types are kept as they are when it is loaded`
    throw new CheckpointError('ERR_UNSUPPORTED', message, { file: source })
  }
  if ((await readdir(target).catch(() => [])).length > 0)
    throw invalidValue('convert: the new folder', 'empty or not there', target)
  const unfinished = `${target.replace(/[\\/]+$/, '')}.unfinished`
  await rm(unfinished, { recursive: true, force: true })
  await mkdir(unfinished, { recursive: true })
  try {
    const converted = await writeModel(source, unfinished, options)
    await copyOthers(source, unfinished)
    await rm(target, { recursive: true, force: true })
    await rename(unfinished, target)
    return converted
  } catch (error) {
    await rm(unfinished, { recursive: true, force: true })
    throw error
  }
}

async function writeModel(source: string, folder: string, options: ConvertOptions): Promise<Converted> {
  const checkpoint = await Checkpoint.open(source)
  const backend = new (addon().Backend)({ threads: options.threads })
  const file = await open(join(folder, 'model.safetensors'), 'wx')
  try {
    const outputs = planOutputs(await planTypes(source, checkpoint, options.dtype))
    const bytes = outputs.reduce((sum, output) => sum + output.bytes, 0)
    await file.writeFile(headerOf(outputs))
    let loadedBytes = 0
    for (const output of outputs) {
      options.signal?.throwIfAborted()
      await writeTensor(file, output, backend)
      loadedBytes += output.bytes
      options.onProgress?.({ loadedBytes, totalBytes: bytes })
    }
    await file.sync()
    const types: Record<string, number> = {}
    for (const { dtype } of outputs) types[dtype] = (types[dtype] ?? 0) + 1
    return { sourceBytes: outputs.reduce((sum, { source }) => sum + source.entry.bytes, 0), bytes, types }
  } finally {
    await file.close()
    backend.dispose()
    checkpoint.close()
  }
}

/** Every parameter's tensor with the type that loading with `dtype` would hold it in; vectors as they are. */
async function planTypes(
  folder: string,
  checkpoint: Checkpoint,
  dtype: Exclude<DType, 'i32'>,
): Promise<Map<string, { tensor: MatchedTensor; dtype: DType }>> {
  const { config } = await readModelConfig('convert', folder)
  const model = modelFor(config)
  const tensors = matchParameters(checkpoint, parameters(model), model.checkpoint)
  const storedTypes = (path: string) => tensors.get(path)?.dtype ?? 'f32'
  const planned = new Map<string, { tensor: MatchedTensor; dtype: DType }>()
  for (const value of optimize(record(model), { dtype, storedTypes }).values) {
    if (value.kind !== 'weight') continue
    for (const { parameter } of value.parts ?? []) {
      const tensor = tensors.get(parameter)!
      planned.set(parameter, { tensor, dtype: value.shape.length === 2 ? value.dtype : tensor.dtype })
    }
  }
  return planned
}

function planOutputs(planned: Map<string, { tensor: MatchedTensor; dtype: DType }>): Output[] {
  return [...planned.values()].map(({ tensor, dtype: wanted }) => {
    const { name, shape } = tensor.entry
    const columns = tensor.transposed ? shape[0]! : shape.at(-1)!
    const fits = shape.length === 2 && columns % blockColumns === 0
    const dtype = isBlocked(wanted) && !fits ? tensor.dtype : wanted
    if (dtype === 'i32') throw new CheckpointError('ERR_UNSUPPORTED', `convert: ${name} is i32`)
    const elements = shape.reduce((product, size) => product * size, 1)
    if (!isBlocked(dtype)) {
      const cols = shape.length > 1 ? shape.at(-1)! : 1
      return {
        name,
        source: tensor,
        dtype,
        rows: elements / cols,
        cols,
        shape,
        bytes: elements * floatBytes[dtype],
      }
    }
    const rows = elements / columns
    const rowBytes = (columns / blockColumns) * blockBytes[dtype]
    return {
      name,
      source: tensor,
      dtype,
      rows,
      cols: columns,
      shape: [rows, rowBytes],
      bytes: rows * rowBytes,
    }
  })
}

/** The length and the JSON that a safetensors file begins with. */
function headerOf(outputs: readonly Output[]): Uint8Array {
  const metadata: Record<string, string> = { format: 'pt' }
  const header: Record<string, unknown> = { __metadata__: metadata }
  let offset = 0
  for (const { name, dtype, shape, bytes } of outputs) {
    if (isBlocked(dtype)) metadata[`kvasir.blocks:${name}`] = dtype
    header[name] = {
      dtype: isBlocked(dtype) ? 'U8' : dtype.toUpperCase(),
      shape,
      data_offsets: [offset, offset + bytes],
    }
    offset += bytes
  }
  const json = Buffer.from(JSON.stringify(header))
  const padded = Buffer.alloc(8 + Math.ceil(json.length / 8) * 8, ' ')
  padded.writeBigUInt64LE(BigInt(padded.length - 8))
  json.copy(padded, 8)
  return padded
}

async function writeTensor(file: FileHandle, output: Output, backend: Backend): Promise<void> {
  const { name, source, dtype, rows, cols } = output
  const store = new (addon().WeightStore)()
  try {
    store.declare({ name, dtype, layout: 'rows', rows, cols })
    // What stays a float also stays as it lies in the file.
    const transposed = source.transposed && isBlocked(dtype)
    const part = { file: source.file, tensor: source.entry.name, rowOffset: 0, transposed }
    store.load(name, part, backend, null)
    await file.writeFile(store.copyBytes(name))
  } finally {
    store.dispose()
  }
}

async function copyOthers(source: string, target: string): Promise<void> {
  for (const entry of await readdir(source, { withFileTypes: true })) {
    if (entry.isDirectory() || weightFiles.test(entry.name)) continue
    await copyFile(join(source, entry.name), join(target, entry.name))
  }
}
