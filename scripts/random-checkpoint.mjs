// Writes checkpoints of random weights: for the tests' fixtures and for benchmarks.
import { closeSync, mkdirSync, openSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'

const chunkElements = 1 << 20

/** Numbers from a seed: xoshiro128** (Blackman & Vigna 2018, https://arxiv.org/abs/1805.01407). */
export class Random {
  #state

  constructor(seed) {
    this.#state = Uint32Array.of(seed, seed ^ 0x9e3779b9, ~seed, 0x85ebca6b)
    for (let i = 0; i < 16; i++) this.next()
  }

  /** A whole number in [0, 2^32). */
  next() {
    const s = this.#state
    const product = Math.imul(s[1], 5)
    const result = Math.imul((product << 7) | (product >>> 25), 9)
    const shifted = s[1] << 9
    s[2] ^= s[0]
    s[3] ^= s[1]
    s[1] ^= s[2]
    s[0] ^= s[3]
    s[2] ^= shifted
    s[3] = (s[3] << 11) | (s[3] >>> 21)
    return result >>> 0
  }

  /** A number in [-1, 1). */
  uniform() {
    return this.next() / 2 ** 31 - 1
  }
}

/**
 * How a parameter is drawn: norms around 1, everything else around 0, with the standard deviation asked for, or else with
 * one that keeps activations of order 1.
 */
function distribution({ path, shape }, deviation) {
  const isNorm = shape.length === 1 && path.endsWith('weight')
  const own = shape.length === 1 ? 0.2 : Math.sqrt(3 / shape[1])
  const spread = deviation === undefined ? own : Math.sqrt(3) * deviation
  return isNorm ? { centre: 1, spread } : { centre: 0, spread }
}

/**
 * Writes `config.json` and `model.safetensors` (f32) for a model's parameters into `folder`.
 *
 * @param {{ folder: string, config: object, parameters: { path: string, shape: readonly number[] }[], transposed?: string[], seed?: number, deviation?: number }} options
 */
export function writeRandomCheckpoint({ folder, config, parameters, transposed = [], seed = 1, deviation }) {
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'config.json'), `${JSON.stringify(config, null, 2)}\n`)
  const inFileOrder = parameters.toSorted((a, b) => (a.path < b.path ? -1 : 1))
  const header = {}
  let offset = 0
  for (const { path, shape } of inFileOrder) {
    const isTransposed = transposed.some((pattern) => new RegExp(pattern).test(path))
    const bytes = shape.reduce((a, b) => a * b, 4)
    header[path] = {
      dtype: 'F32',
      shape: isTransposed ? shape.toReversed() : shape,
      data_offsets: [offset, offset + bytes],
    }
    offset += bytes
  }
  const text = JSON.stringify(header)
  const padded = Buffer.from(text.padEnd(Math.ceil(text.length / 8) * 8))
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(padded.length))
  const file = openSync(join(folder, 'model.safetensors'), 'w')
  try {
    writeSync(file, length)
    writeSync(file, padded)
    const random = new Random(seed)
    for (const parameter of inFileOrder) writeValues(file, parameter, { random, deviation })
  } finally {
    closeSync(file)
  }
}

function writeValues(file, parameter, { random, deviation }) {
  const { centre, spread } = distribution(parameter, deviation)
  let left = parameter.shape.reduce((a, b) => a * b, 1)
  while (left > 0) {
    const values = new Float32Array(Math.min(left, chunkElements))
    for (let i = 0; i < values.length; i++) values[i] = centre + spread * random.uniform()
    writeSync(file, new Uint8Array(values.buffer))
    left -= values.length
  }
}
