// The checkpoint that all of a shape's files are made from: f32 safetensors, read tensor by tensor.
import { closeSync, openSync, readFileSync, readSync } from 'node:fs'
import { join } from 'node:path'
import { modelFor } from '../../../dist/models/registry.js'
import { parameters } from '../../../dist/nn/index.js'
import { writeRandomCheckpoint } from '../../../scripts/random-checkpoint.mjs'

const chunkBytes = 2 ** 24

/** Writes random weights with the standard deviation that GPT-2 and LLaMA are initialised with. */
export function writeCheckpoint(folder, config) {
  const model = modelFor(config)
  const { transposed } = model.checkpoint
  writeRandomCheckpoint({ folder, config, parameters: parameters(model), transposed, deviation: 0.02 })
}

/** A checkpoint's tensors, which are matrices (out, in) or vectors however the file has them. */
export class Checkpoint {
  #file
  #header
  #dataStart
  #transposed

  constructor(folder) {
    this.config = JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8'))
    this.#transposed = modelFor(this.config).checkpoint.transposed.map((pattern) => new RegExp(pattern))
    this.#file = openSync(join(folder, 'model.safetensors'), 'r')
    const length = Buffer.alloc(8)
    readSync(this.#file, length, 0, 8, 0)
    const headerBytes = Number(length.readBigUInt64LE())
    const header = Buffer.alloc(headerBytes)
    readSync(this.#file, header, 0, headerBytes, 8)
    this.#header = JSON.parse(header.toString())
    this.#dataStart = 8 + headerBytes
  }

  /** `(out, in)`, or `(out,)`. */
  shape(name) {
    const { shape } = this.#header[name]
    return this.#isTransposed(name) ? shape.toReversed() : shape
  }

  /** All of a tensor, as `shape` says. */
  read(name) {
    const { shape, data_offsets } = this.#header[name]
    const values = this.#floats(data_offsets[0], data_offsets[1])
    return this.#isTransposed(name) ? transpose(values, shape) : values
  }

  /** A matrix (in, out). */
  readTransposed(name) {
    const { shape, data_offsets } = this.#header[name]
    const values = this.#floats(data_offsets[0], data_offsets[1])
    return this.#isTransposed(name) ? values : transpose(values, shape)
  }

  /** A tensor's whole rows one after another, some megabytes at a time. */
  *chunks(name) {
    if (this.#isTransposed(name)) return yield this.read(name)
    const { shape, data_offsets } = this.#header[name]
    const rowBytes = 4 * shape.at(-1)
    const step = Math.max(1, Math.floor(chunkBytes / rowBytes)) * rowBytes
    const [begin, end] = data_offsets
    for (let at = begin; at < end; at += step) yield this.#floats(at, Math.min(at + step, end))
  }

  close() {
    closeSync(this.#file)
  }

  #isTransposed(name) {
    return this.#transposed.some((pattern) => pattern.test(name))
  }

  #floats(begin, end) {
    const bytes = new Uint8Array(end - begin)
    for (let at = 0; at < bytes.length; at += chunkBytes) {
      const count = Math.min(chunkBytes, bytes.length - at)
      const got = readSync(this.#file, bytes, at, count, this.#dataStart + begin + at)
      if (got !== count) throw new Error(`checkpoint: ${count} bytes were to be read, got ${got}`)
    }
    return new Float32Array(bytes.buffer)
  }
}

function transpose(values, [rows, cols]) {
  const tile = 64
  const result = new Float32Array(values.length)
  for (let row0 = 0; row0 < rows; row0 += tile)
    for (let col0 = 0; col0 < cols; col0 += tile)
      for (let row = row0; row < Math.min(row0 + tile, rows); row++)
        for (let col = col0; col < Math.min(col0 + tile, cols); col++)
          result[col * rows + row] = values[row * cols + col]
  return result
}
