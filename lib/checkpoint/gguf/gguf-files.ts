import { stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { CheckpointError } from '../../errors.js'
import type { CheckpointFile, TensorEntry } from '../../native/addon.js'
import { addon } from '../../native/addon.js'
import { shortPath } from '../json-file.js'
import type { GgufTensors } from './architecture.js'
import { GgufMetadata } from './metadata.js'

const maxParts = 4096

/** A tensor, and the part of the file that holds it. */
export interface PartTensor {
  entry: TensorEntry
  file: CheckpointFile
  fileName: string
}

/** Whether a model is a file, which must then be a GGUF file, and not a folder. */
export async function isGgufFile(path: string): Promise<boolean> {
  const found = await stat(path).catch(() => null)
  return found?.isFile() ?? false
}

/** A GGUF file, with its other parts where it was split: `model-00001-of-00003.gguf`. */
export class GgufFiles {
  readonly metadata: GgufMetadata
  readonly tensors: ReadonlyMap<string, PartTensor>
  readonly files: readonly CheckpointFile[]

  private constructor(
    metadata: GgufMetadata,
    tensors: ReadonlyMap<string, PartTensor>,
    files: readonly CheckpointFile[],
  ) {
    this.metadata = metadata
    this.tensors = tensors
    this.files = files
  }

  /** Opens all parts and checks their headers. @throws {CheckpointError} naming what is wrong */
  static open(path: string): GgufFiles {
    const files: CheckpointFile[] = []
    try {
      const first = openPart(path, files)
      const metadata = metadataOf(path, first)
      const tensors = new Map<string, PartTensor>()
      const paths = partPaths(path, metadata)
      for (const [i, part] of paths.entries()) {
        const file = i === 0 ? first : openPart(part, files)
        if (i > 0) checkPart(metadataOf(part, file), i, paths.length)
        addTensors(tensors, file, shortPath(part))
      }
      const count = metadata.integer('split.tensors.count', tensors.size)
      if (count !== tensors.size)
        throw metadata.error('split.tensors.count', `${tensors.size}, as in its parts`, count)
      return new GgufFiles(metadata, tensors, files)
    } catch (error) {
      for (const file of files) file.dispose()
      throw error
    }
  }

  /** As an architecture's rules take them. */
  get named(): GgufTensors {
    return {
      entries: new Map([...this.tensors].map(([name, { entry }]) => [name, entry])),
      floats: (name) => this.tensors.get(name)!.file.floats(name),
    }
  }

  close(): void {
    for (const file of this.files) file.dispose()
  }
}

function openPart(path: string, files: CheckpointFile[]): CheckpointFile {
  const file = new (addon().CheckpointFile)(path)
  files.push(file)
  if (file.format === 'gguf') return file
  const name = shortPath(path)
  const expected = 'a GGUF file, or a folder in Hugging Face layout'
  throw new CheckpointError('ERR_FILE_FORMAT', `${name} must be ${expected}`, { file: name, expected })
}

function metadataOf(path: string, file: CheckpointFile): GgufMetadata {
  return new GgufMetadata(shortPath(path), file.metadata(), (key) => file.array(key))
}

/** All parts, by the name that the first must have. */
function partPaths(path: string, metadata: GgufMetadata): string[] {
  const count = metadata.integer('split.count', 1)
  if (count <= 1) return [path]
  if (count > maxParts) throw metadata.error('split.count', `at most ${maxParts}`, count)
  const number = metadata.integer('split.no')
  if (number !== 0) throw metadata.error('split.no', '0: the first part is the one to load', number)
  const digits = (n: number) => String(n).padStart(5, '0')
  const ending = `-${digits(1)}-of-${digits(count)}.gguf`
  const name = basename(path)
  if (!name.endsWith(ending))
    throw metadata.error('its name', `NAME${ending}, as split.count is ${count}`, name)
  const stem = join(dirname(path), name.slice(0, -ending.length))
  return Array.from({ length: count }, (_, i) => `${stem}-${digits(i + 1)}-of-${digits(count)}.gguf`)
}

function checkPart(metadata: GgufMetadata, index: number, count: number): void {
  for (const [key, expected] of [
    ['split.no', index],
    ['split.count', count],
  ] as const) {
    const found = metadata.integer(key)
    if (found !== expected) throw metadata.error(key, String(expected), found)
  }
}

function addTensors(tensors: Map<string, PartTensor>, file: CheckpointFile, fileName: string): void {
  for (const entry of file.tensors()) {
    const known = tensors.get(entry.name)
    if (known) {
      const found = `also in ${known.fileName}`
      const problem = { file: fileName, tensor: entry.name, found }
      throw new CheckpointError('ERR_FILE_FORMAT', `${fileName}: tensor ${entry.name} is ${found}`, problem)
    }
    tensors.set(entry.name, { entry, file, fileName })
  }
}
