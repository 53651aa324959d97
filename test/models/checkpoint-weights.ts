import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Checkpoint } from '#kvasir/checkpoint/checkpoint.js'
import type { MatchedTensor } from '#kvasir/checkpoint/match.js'
import { matchParameters } from '#kvasir/checkpoint/match.js'
import type { CausalLM } from '#kvasir/nn/index.js'
import { parameters } from '#kvasir/nn/index.js'
import { readTensors } from '../checkpoint/folders.js'

/** The parameters of a safetensors file in f32 or bf16 as a model has them, by their paths. */
export async function readWeights(
  folder: string,
  model: CausalLM<unknown>,
): Promise<(path: string) => Float64Array> {
  const checkpoint = await Checkpoint.open(folder)
  try {
    const matched = matchParameters(checkpoint, parameters(model), model.checkpoint)
    const { header, data } = readTensors(folder)
    return (path) => {
      const tensor = matched.get(path)!
      const { data_offsets, shape, dtype } = header[tensor.entry.name]!
      const { buffer } = new Uint8Array(data.subarray(...data_offsets))
      if (dtype === 'F32') return asParameter(new Float32Array(buffer), shape, tensor)
      if (dtype !== 'BF16') throw new Error(`${path} is ${dtype}`)
      // A bf16 is the upper half of an f32.
      const bits = Uint32Array.from(new Uint16Array(buffer), (half) => half << 16)
      return asParameter(new Float32Array(bits.buffer), shape, tensor)
    }
  } finally {
    checkpoint.close()
  }
}

/** What the loader does, in plain code. */
function asParameter(
  numbers: Float32Array,
  shape: readonly number[],
  { rows, addend = 0, transposed }: MatchedTensor,
): Float64Array {
  if (transposed) {
    const [inputs, outputs] = shape as [number, number]
    return Float64Array.from(numbers, (_, i) => numbers[(i % inputs) * outputs + Math.floor(i / inputs)]!)
  }
  const columns = shape[1] ?? 1
  const { first, count, run, stride } = rows ?? { first: 0, count: shape[0]!, run: shape[0]!, stride: 0 }
  return Float64Array.from({ length: count * columns }, (_, i) => {
    const row = Math.floor(i / columns)
    const fileRow = first + Math.floor(row / run) * stride + (row % run)
    return numbers[fileRow * columns + (i % columns)]! + addend
  })
}

export function readJson(...path: string[]) {
  return JSON.parse(readFileSync(join(...path), 'utf8'))
}
