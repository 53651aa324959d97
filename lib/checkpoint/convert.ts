import type { FileHandle } from 'node:fs/promises'
import { copyFile, open, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { CheckpointError } from '../errors.js'
import type { DType } from '../graph/graph.js'
import { isBlocked } from '../graph/graph.js'
import type { Backend } from '../native/addon.js'
import { addon } from '../native/addon.js'
import type { MatchedTensor } from './match.js'

export interface WriteOptions {
  /** The processors this process may use, by default. */
  threads?: number
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

/** A parameter's tensor, and the type that it is to have. */
export interface PlannedTensor {
  tensor: MatchedTensor
  dtype: DType
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
 * Writes tensors to a safetensors file, each in the type that was planned for it; matrices of incomplete blocks stay as they
 * are. Matrices in blocks are written row by row as bytes, and named in the file's metadata. Never holds more than one tensor.
 */
export async function writeConverted(
  path: string,
  planned: readonly PlannedTensor[],
  { threads = addon().cpuInfo().processors, signal, onProgress }: WriteOptions,
): Promise<Converted> {
  const backend = new (addon().Backend)({ threads })
  const file = await open(path, 'wx')
  try {
    const outputs = planOutputs(planned)
    const bytes = outputs.reduce((sum, output) => sum + output.bytes, 0)
    await file.writeFile(headerOf(outputs))
    let loadedBytes = 0
    for (const output of outputs) {
      signal?.throwIfAborted()
      await writeTensor(file, output, backend)
      loadedBytes += output.bytes
      onProgress?.({ loadedBytes, totalBytes: bytes })
    }
    await file.sync()
    const types: Record<string, number> = {}
    for (const { dtype } of outputs) types[dtype] = (types[dtype] ?? 0) + 1
    return { sourceBytes: outputs.reduce((sum, { source }) => sum + source.entry.bytes, 0), bytes, types }
  } finally {
    await file.close()
    backend.dispose()
  }
}

function planOutputs(planned: readonly PlannedTensor[]): Output[] {
  return planned.map(({ tensor, dtype: wanted }) => {
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

/** Copies what a model folder holds beside weights. */
export async function copyOthers(source: string, target: string): Promise<void> {
  for (const entry of await readdir(source, { withFileTypes: true })) {
    if (entry.isDirectory() || weightFiles.test(entry.name)) continue
    await copyFile(join(source, entry.name), join(target, entry.name))
  }
}
