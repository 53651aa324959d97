import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Graph } from '#kvasir/graph/graph.js'
import { blockTokens } from '#kvasir/graph/graph.js'
import { withSampling } from '#kvasir/graph/passes/index.js'
import { modelFor } from '#kvasir/models/registry.js'
import { parameters, record } from '#kvasir/nn/index.js'
import type { StepInputs } from '../../graph/steps.js'
import { shuffledBlocks } from '../../kernels/attention-graph.js'
import type { Weights } from '../../kernels/native-program.js'
import type { WeightType } from '../../kernels/numbers.js'
import { rootDir } from '../../shared.js'
import type { StepHandle } from './case-builder.js'
import { CaseBuilder } from './case-builder.js'
import type { VectorCase } from './vector-file.js'

const fixtures = join(rootDir, 'test', 'fixtures')
/** Of scripts/make-fixtures.mjs: their keys are the parameters' paths. */
const names = ['decoder-alibi', 'decoder-sinusoidal', 'gpt-neo', 'gpt2', 'llama', 'llama-yarn']
const promptTokens = 40
const aheadTokens = 6

interface Fixture {
  name: string
  graph: Graph
  weights: Weights
  ids: number[]
}

/** A small checkpoint, its parameters as the graph has them, (out, in). */
function readFixture(name: string): Fixture {
  const read = (file: string) => readFileSync(join(fixtures, name, file))
  const model = modelFor(JSON.parse(read('config.json').toString()))
  const transposed = model.checkpoint.transposed.map((pattern) => new RegExp(pattern))
  const file = read('model.safetensors')
  const dataStart = 8 + Number(file.readBigUInt64LE(0))
  const header = JSON.parse(file.subarray(8, dataStart).toString())
  const shapes = new Map(parameters(model).map(({ path, shape }) => [path, shape]))
  const weights = (path: string): Float32Array => {
    const [begin, end] = header[path].data_offsets
    const numbers = new Float32Array(new Uint8Array(file.subarray(dataStart + begin, dataStart + end)).buffer)
    if (!transposed.some((pattern) => pattern.test(path))) return numbers
    const [rows, cols] = shapes.get(path) as [number, number]
    return numbers.map((_, i) => numbers[(i % cols) * rows + Math.floor(i / cols)]!)
  }
  const { ids } = JSON.parse(read('golden.json').toString())
  return { name, graph: record(model), weights, ids }
}

/** Tokens of one sequence: those of `ids` from `start` on. */
interface Part {
  ids: readonly number[]
  start: number
  count: number
  blocks: readonly number[]
}

/** A step of parts of sequences; all its rows are output rows. */
function stepOf(parts: readonly Part[]): StepInputs {
  const W = Math.max(...parts.map(({ start, count }) => Math.ceil((start + count) / blockTokens)))
  const each = (number: (part: Part, i: number) => number) =>
    Int32Array.from(parts.flatMap((part) => Array.from({ length: part.count }, (_, i) => number(part, i))))
  const tokens = each(({ ids, start }, i) => ids[start + i]!)
  const queryStarts = [0]
  for (const { count } of parts) queryStarts.push(queryStarts.at(-1)! + count)
  return {
    tokens,
    positions: each(({ start }, i) => start + i),
    queryStarts: Int32Array.from(queryStarts),
    contextLengths: Int32Array.from(parts, ({ start, count }) => start + count),
    blockTables: Int32Array.from(parts.flatMap(({ blocks }) => blocks.slice(0, W))),
    outputRows: Int32Array.from(tokens, (_, n) => n),
  }
}

/** Logits: the whole prompt, in chunks, single tokens, and beside other sequences, all with the same bits. */
function logits({ name, graph, weights, ids }: Fixture, type: WeightType): VectorCase {
  const builder = new CaseBuilder(`model ${name}, ${type}`, graph, weights, { type })
  const sequence = (seed: number) => ({ ids, blocks: shuffledBlocks(seed).slice(0, 2) })
  builder.session({ maxTokens: promptTokens })
  const whole = builder.truth(stepOf([{ ...sequence(1), start: 0, count: promptTokens }]))
  for (const [counts, checked] of [
    [[7, 32, 1], true],
    [[13, 13, 14], true],
    [[33, 1, 1, 1, 1, 1, 1, 1], false],
  ] as const) {
    builder.session({ maxTokens: promptTokens, checked })
    let start = 0
    for (const count of counts) {
      builder.run(stepOf([{ ...sequence(2), start, count }]))
      builder.equal(0, count, whole, start)
      start += count
    }
  }
  batch(builder, ids, whole)
  return builder.vectorCase
}

/** Five sequences at different places of the same text. */
function batch(builder: CaseBuilder, ids: readonly number[], whole: StepHandle): void {
  const free = shuffledBlocks(3)
  const parts: Part[] = [4, 11, 1, 37, 20].map((count) => ({
    ids,
    start: 0,
    count,
    blocks: free.splice(0, 2),
  }))
  builder.session({ maxTokens: 80, checked: false })
  for (let step = 0; step < 4; step++) {
    builder.run(stepOf(parts))
    let row = 0
    for (const part of parts) {
      builder.equal(row, part.count, whole, part.start)
      row += part.count
      part.start += part.count
      part.count = 1
    }
  }
}

type Sampling = Record<'temperature' | 'topK' | 'topP' | 'minP', number>

function sampling(
  { temperature, topK, topP, minP }: Sampling,
  sequences: number,
  counter: number,
): StepInputs {
  const fill = (x: number) => new Float32Array(sequences).fill(x)
  return {
    temperature: fill(temperature),
    topK: new Int32Array(sequences).fill(topK),
    topP: fill(topP),
    minP: fill(minP),
    seed: Int32Array.from({ length: 2 * sequences }, (_, i) => 17 * i + 3),
    counter: new Int32Array(sequences).fill(counter),
  }
}

/** Steps that feed what the one before sampled, one by one from the host and then ahead on the device. */
function ahead({ name, graph, weights, ids }: Fixture, type: WeightType): VectorCase {
  const recorded = withSampling(graph)
  const builder = new CaseBuilder(`model ${name}, ${type}, ahead`, recorded, weights, { type })
  const sequences = 3
  const length = 9
  const free = shuffledBlocks(4)
  const parts: Part[] = Array.from({ length: sequences }, (_, s) => {
    return { ids: ids.slice(s), start: 0, count: length, blocks: free.splice(0, 2) }
  })
  const prompt = stepOf(parts)
  const outputRows = Int32Array.from(parts, (_, s) => (s + 1) * length - 1)
  const single = (position: number) => ({
    positions: new Int32Array(sequences).fill(position),
    queryStarts: Int32Array.from({ length: sequences + 1 }, (_, s) => s),
    contextLengths: new Int32Array(sequences).fill(position + 1),
    blockTables: Int32Array.from(parts.flatMap(({ blocks }) => blocks.slice(0, 1))),
    outputRows: Int32Array.from(parts, (_, s) => s),
  })
  for (const rules of [
    { temperature: 0, topK: 0, topP: 1, minP: 0 },
    { temperature: 1.3, topK: 20, topP: 0.9, minP: 0.01 },
  ]) {
    const limits = { maxTokens: 40, checked: false }
    const begin = () => {
      builder.session(limits)
      return builder.run({ ...prompt, outputRows, ...sampling(rules, sequences, length) })
    }
    let last = begin()
    const steps = Array.from({ length: aheadTokens }, (_, i) => {
      const position = length + i
      const tokens = { step: last.step, output: 'ids' }
      last = builder.run({ tokens, ...single(position), ...sampling(rules, sequences, position + 1) })
      return last
    })
    const again = begin()
    const tokens = { step: again.step, output: 'ids' }
    builder.run({ tokens, ...single(length), ...sampling(rules, sequences, length + 1) }, aheadTokens)
    steps.forEach((step, i) => {
      builder.equal(i * sequences, sequences, step, 0, ['ids', 'logprobs'])
    })
  }
  return builder.vectorCase
}

export function modelCases(): VectorCase[] {
  const read = names.map(readFixture)
  return read.flatMap((fixture) => [
    ...(['bf16', 'f16', 'f32'] as const).map((type) => logits(fixture, type)),
    ...(['bf16', 'f32'] as const).map((type) => ahead(fixture, type)),
  ])
}
