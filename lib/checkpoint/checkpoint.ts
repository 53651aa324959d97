import { access, realpath } from 'node:fs/promises'
import { isAbsolute, join, relative, sep } from 'node:path'
import { CheckpointError } from '../errors.js'
import type { CheckpointFile, TensorEntry } from '../native/addon.js'
import { addon } from '../native/addon.js'
import { architectureOf, parameterOf } from './gguf/architectures.js'
import { GgufFiles, isGgufFile } from './gguf/gguf-files.js'
import { readJsonObject, shortPath } from './json-file.js'

const singleFile = 'model.safetensors'
const indexFile = 'model.safetensors.index.json'
const maxIndexBytes = 64 * 2 ** 20
const maxShards = 4096

/** A tensor and the file that holds it. */
export interface LocatedTensor {
  /** By the name that it has in the file. */
  entry: TensorEntry
  file: CheckpointFile
  /** For messages. */
  fileName: string
  /** Rows of a head whose halves the file holds in turn; absent where rows are as they are. */
  pairedRows?: number
  /** Whether the file holds parameters as models have them, those in one tensor side by side, whatever the family's rules say. */
  isPlain?: boolean
}

/** A model's tensors: of a folder in Hugging Face layout, one safetensors file or shards with an index; or of a GGUF file. */
export class Checkpoint {
  /** By the names that parameters have. */
  readonly tensors: ReadonlyMap<string, LocatedTensor>
  readonly #files: CheckpointFile[]

  private constructor(tensors: Map<string, LocatedTensor>, files: CheckpointFile[]) {
    this.tensors = tensors
    this.#files = files
  }

  /** Opens all files and checks their headers. @throws {CheckpointError} naming what is wrong */
  static async open(path: string): Promise<Checkpoint> {
    if (await isGgufFile(path)) return Checkpoint.#openGguf(path)
    return Checkpoint.#openFolder(path)
  }

  static #openGguf(path: string): Checkpoint {
    const gguf = GgufFiles.open(path)
    try {
      return new Checkpoint(namedTensors(gguf), [...gguf.files])
    } catch (error) {
      gguf.close()
      throw error
    }
  }

  static async #openFolder(folder: string): Promise<Checkpoint> {
    const index = await readJsonObject(join(folder, indexFile), maxIndexBytes)
    const checkpoint = new Checkpoint(new Map(), [])
    try {
      if (index) await checkpoint.#openShards(folder, index)
      else checkpoint.#openFile(await soleFile(folder))
      return checkpoint
    } catch (error) {
      checkpoint.close()
      throw error
    }
  }

  close(): void {
    for (const file of this.#files) file.dispose()
  }

  #openFile(path: string): Set<string> {
    const file = new (addon().CheckpointFile)(path)
    this.#files.push(file)
    const fileName = shortPath(path)
    const names = new Set<string>()
    for (const entry of file.tensors()) {
      const known = this.tensors.get(entry.name)
      if (known) {
        const problem = { file: fileName, tensor: entry.name, found: `also in ${known.fileName}` }
        throw new CheckpointError(
          'ERR_FILE_FORMAT',
          `${fileName}: tensor ${entry.name} is also in ${known.fileName}`,
          problem,
        )
      }
      names.add(entry.name)
      ;(this.tensors as Map<string, LocatedTensor>).set(entry.name, { entry, file, fileName })
    }
    return names
  }

  async #openShards(folder: string, index: Record<string, unknown>): Promise<void> {
    const file = shortPath(join(folder, indexFile))
    const shards = shardsOf(index, file)
    for (const [shard, names] of shards) {
      const found = this.#openFile(await shardPath(folder, shard, file))
      for (const name of names) {
        if (found.has(name)) continue
        const problem = { file, tensor: name, expected: `in ${shard}`, found: 'no such tensor there' }
        throw new CheckpointError('ERR_FILE_FORMAT', `${file}: tensor ${name} is not in ${shard}`, problem)
      }
    }
  }
}

function namedTensors({ metadata, tensors }: GgufFiles): Map<string, LocatedTensor> {
  const architecture = architectureOf(metadata)
  const named = new Map<string, LocatedTensor>()
  for (const tensor of tensors.values()) {
    const found = parameterOf(tensor.entry, architecture, metadata)
    if (found === null) continue
    named.set(found.parameter, { ...tensor, pairedRows: found.pairedRows, isPlain: true })
  }
  return named
}

async function soleFile(folder: string): Promise<string> {
  const path = join(folder, singleFile)
  await access(path).catch((cause) => {
    const file = shortPath(path)
    const message = `${file}: not found, and no ${indexFile} either`
    throw new CheckpointError('ERR_FILE_NOT_FOUND', message, { file }, { cause })
  })
  return path
}

/** The index's shards with the tensors each must hold. */
function shardsOf(index: Record<string, unknown>, file: string): Map<string, string[]> {
  const map = index.weight_map
  const wrong = (field: string, expected: string, found: string) =>
    new CheckpointError('ERR_FILE_FORMAT', `${file}: ${field} must be ${expected}, got ${found}`, {
      file,
      field,
      expected,
      found,
    })
  if (typeof map !== 'object' || map === null || Array.isArray(map))
    throw wrong('weight_map', 'an object', map === undefined ? 'nothing' : typeof map)
  const shards = new Map<string, string[]>()
  for (const [tensor, shard] of Object.entries(map)) {
    if (typeof shard !== 'string') throw wrong(`weight_map.${tensor}`, 'a file name', typeof shard)
    const names = shards.get(shard) ?? []
    names.push(tensor)
    shards.set(shard, names)
  }
  if (shards.size > maxShards) throw wrong('weight_map', `at most ${maxShards} files`, String(shards.size))
  return shards
}

/** A shard's path, which must lie inside the folder once links are followed. */
async function shardPath(folder: string, shard: string, file: string): Promise<string> {
  const outside = (found: string) => {
    const problem = { file, field: 'weight_map', expected: 'a file of the same folder', found }
    return new CheckpointError('ERR_FILE_FORMAT', `${file}: shard ${JSON.stringify(shard)} ${found}`, problem)
  }
  if (shard === '' || shard.includes('\0') || isAbsolute(shard) || shard.split(/[\\/]/).includes('..'))
    throw outside('leads out of the folder')
  const path = join(folder, shard)
  const real = await realpath(path).catch((cause) => {
    const message = `${file}: shard ${JSON.stringify(shard)} is not there`
    throw new CheckpointError(
      'ERR_FILE_NOT_FOUND',
      message,
      { file, expected: shard, found: 'no file' },
      { cause },
    )
  })
  if (isLinkOutside(await realpath(folder), real) && !isHubBlob(real))
    throw outside('is a link out of the folder')
  return path
}

function isLinkOutside(folder: string, real: string): boolean {
  const way = relative(folder, real)
  return way.startsWith(`..${sep}`) || way === '..' || isAbsolute(way)
}

/** The hub's cache keeps every file as a link from `snapshots/<commit>/` to `blobs/<hash>`. */
function isHubBlob(real: string): boolean {
  const parts = real.split(sep)
  return parts.at(-2) === 'blobs' && /^[0-9a-f]{40}([0-9a-f]{24})?$/.test(parts.at(-1) ?? '')
}
