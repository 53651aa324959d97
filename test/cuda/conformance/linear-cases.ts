import type { ValueId } from '#kvasir/graph/graph.js'
import { KernelGraph, rowStep } from '../../kernels/kernel-graph.js'
import type { BlockType, WeightType } from '../../kernels/numbers.js'
import { randomNumbers, roundTo, roundToBlocks } from '../../kernels/numbers.js'
import { CaseBuilder } from './case-builder.js'
import type { VectorCase } from './vector-file.js'

interface Layer {
  gated?: boolean
  activation?: string
  bias?: boolean
  residual?: ValueId
}

class LinearGraph extends KernelGraph {
  readonly type: WeightType
  readonly #block: BlockType | undefined

  /** Layers' weights are numbers that blocks of that type hold as they are. */
  constructor(type: WeightType, block?: BlockType) {
    super()
    this.type = type
    this.#block = block
  }

  /** The matrix (N,C) of random rows that the step's tokens choose. */
  rows(name: string, count: number, cols: number, seed: number): ValueId {
    return this.activations(name, cols, roundTo(this.type, randomNumbers(seed, count * cols, 2)))
  }

  layer(name: string, x: ValueId, size: number, options: Layer = {}): ValueId {
    const { gated = false, activation = 'none', bias = false, residual } = options
    const K = this.columns(x)
    const parts = gated ? [`w.${name}.gate`, `w.${name}.up`] : [`w.${name}`]
    const seed = 7 * name.length + K + 3 * size
    parts.forEach((part, i) => {
      const numbers = randomNumbers(seed + i, size * K, Math.sqrt(3 / K))
      this.parameter(part, [size, K], this.#block ? roundToBlocks(this.#block, numbers, K) : numbers)
    })
    const stacked = parts.map((parameter) => ({ parameter, rows: size }))
    const weight = this.weight(`w.${name}`, [size * parts.length, K])
    if (gated) Object.assign(this.graph.values[weight]!, { interleaved: true, parts: stacked })
    const biasSize = size * parts.length
    const inputs = {
      x,
      weight,
      bias: bias ? this.parameter(`b.${name}`, [biasSize], randomNumbers(seed + 5, biasSize)) : undefined,
      residual,
    }
    return this.node('linear', name, inputs, [this.shape(x)[0]!, size], { activation, gated })
  }

  /** A result between layers: in 16 bits, where those are computed in. (A step's last linear gives f32.) */
  inner(name: string, x: ValueId): ValueId {
    return this.scale(name, x, 1)
  }
}

/** Rows that every variant of the kernel meets: few, some, many, and the edges between. */
const rowCounts = [1, 2, 7, 8, 9, 16, 17, 33, 64, 128, 129, 200, 300]

/**
 * All rows in one step, then each count of them from somewhere, with the same bits: in guarded memory, and in captured
 * graphs, whose steps are filled up.
 */
function stepsOfEverySize(
  builder: CaseBuilder,
  counts: readonly number[],
  total = Math.max(...counts),
): void {
  builder.session({ maxTokens: total })
  const whole = builder.truth(rowStep(total))
  const each = (among: readonly number[]) => {
    for (const count of among) {
      const first = (count * 7) % (total - count + 1)
      builder.run(rowStep(count, first))
      builder.equal(0, count, whole, first)
    }
  }
  each(counts.filter((count) => count < total))
  builder.session({ maxTokens: total, checked: false })
  each(counts.filter((count) => [1, 7, 9, 17, 129, 300].includes(count)))
}

function shapes(type: WeightType, K: number, size: number, counts: readonly number[]): VectorCase {
  const graph = new LinearGraph(type)
  const x = graph.rows('x', Math.max(...counts), K, K)
  const outputs = {
    last: graph.layer('last', x, size),
    plain: graph.inner('s.plain', graph.layer('plain', x, size, { activation: 'silu' })),
    gated: graph.inner('s.gated', graph.layer('gated', x, size, { gated: true, activation: 'silu' })),
  }
  graph.finish(K * size > 20_000 ? { last: outputs.last, gated: outputs.gated } : outputs)
  const name = `linear, ${type}, ${K} to ${size}`
  const builder = new CaseBuilder(name, graph.graph, graph.weights, { type })
  stepsOfEverySize(builder, counts)
  return builder.vectorCase
}

function epilogues(type: WeightType): VectorCase {
  const graph = new LinearGraph(type)
  const [total, size] = [33, 37]
  const x = graph.rows('x', total, 72, 1)
  const residual = graph.slice('r', graph.rows('wide', total, 60, 2), 11, size)
  const outputs: Record<string, ValueId> = {}
  for (const activation of ['none', 'relu', 'gelu', 'gelu-tanh', 'silu']) {
    for (const gated of [false, true]) {
      const name = `${activation}${gated ? ' gated' : ''}`
      const options = { activation, gated, bias: true, residual: gated ? residual : undefined }
      outputs[name] = graph.inner(name, graph.layer(name, x, size, options))
    }
  }
  outputs['residual alone'] = graph.layer('alone', x, size, { residual })
  outputs['bias alone'] = graph.layer('bias', x, size, { bias: true })
  graph.finish(outputs)
  const builder = new CaseBuilder(`linear, ${type}, epilogues`, graph.graph, graph.weights, { type })
  stepsOfEverySize(builder, [1, 9, 17, 33])
  return builder.vectorCase
}

/** Rows that do not begin at a multiple of 16 bytes, some of them not even at one of 4. */
function slices(type: WeightType): VectorCase {
  const graph = new LinearGraph(type)
  const whole = graph.rows('whole', 140, 91, 3)
  const outputs = [0, 1, 2, 4, 7, 8].map((start) => {
    const x = graph.slice(`x${start}`, whole, start, 80)
    return [`${start}`, graph.inner(`s${start}`, graph.layer(`${start}`, x, 24))]
  })
  graph.finish(Object.fromEntries(outputs))
  const builder = new CaseBuilder(`linear, ${type}, slices`, graph.graph, graph.weights, { type })
  stepsOfEverySize(builder, [1, 16, 40, 140])
  return builder.vectorCase
}

/** A norm and the layer that reads it: one kernel for few rows, two for many. */
function norms(type: WeightType, sizes: readonly number[]): VectorCase {
  const graph = new LinearGraph(type)
  const outputs: Record<string, ValueId> = {}
  for (const C of sizes) {
    const x = graph.rows(`x${C}`, 33, C, C)
    const weight = graph.parameter(`n.weight${C}`, [C], randomNumbers(C, C))
    const bias = graph.parameter(`n.bias${C}`, [C], randomNumbers(C + 1, C))
    const shape = graph.shape(x)
    const rms = graph.node('rms-norm', `rms${C}`, { x, weight }, shape, { epsilon: 1e-5 })
    const layer = graph.node('layer-norm', `layer${C}`, { x, weight, bias }, shape, { epsilon: 1e-5 })
    outputs[`rms ${C}`] = graph.layer(`r${C}`, rms, 40)
    outputs[`layer ${C}`] = graph.inner(
      `l${C}`,
      graph.layer(`l${C}`, layer, 40, { activation: 'gelu', bias: true, gated: C % 2 === 0 }),
    )
  }
  graph.finish(outputs)
  const name = `linear, ${type}, norms of ${sizes.join(', ')}`
  const builder = new CaseBuilder(name, graph.graph, graph.weights, { type })
  stepsOfEverySize(builder, [1, 2, 8, 9, 16, 17, 33])
  return builder.vectorCase
}

/** Activations in f32, weights in 16 bits, which are widened. */
function widened(weightType: WeightType): VectorCase {
  const graph = new LinearGraph('f32')
  const x = graph.rows('x', 70, 100, 4)
  graph.finish({ y: graph.layer('y', x, 67), gated: graph.layer('gated', x, 33, { gated: true }) })
  const storedTypes = (parameter: string) => (parameter.startsWith('w') ? weightType : 'f32')
  const options = { type: 'f32', storedTypes } as const
  const name = `linear, f32, weights in ${weightType}`
  const builder = new CaseBuilder(name, graph.graph, graph.weights, options)
  stepsOfEverySize(builder, [1, 9, 17, 70])
  return builder.vectorCase
}

/** Weights in blocks: few rows by the blocks themselves, others by what is made of them; norms before them, too. */
function inBlocks(type: WeightType, block: BlockType, K: number, size: number): VectorCase {
  const graph = new LinearGraph(type, block)
  const x = graph.rows('x', 70, K, 4)
  const weight = graph.parameter('n.weight', [K], randomNumbers(8, K))
  const rms = graph.node('rms-norm', 'rms', { x, weight }, graph.shape(x), { epsilon: 1e-5 })
  const gated = { gated: true, bias: true, activation: 'silu' }
  graph.finish({
    y: graph.layer('y', x, size),
    normed: graph.inner('s.normed', graph.layer('normed', rms, size, { bias: true })),
    gated: graph.inner('s.gated', graph.layer('gated', rms, size, gated)),
  })
  const storedTypes = (parameter: string) => (parameter.startsWith('w') ? block : 'f32')
  const name = `linear, ${type}, ${K} to ${size}, weights in ${block}`
  const builder = new CaseBuilder(name, graph.graph, graph.weights, { type, storedTypes })
  stepsOfEverySize(builder, [1, 2, 8, 9, 16, 17, 70])
  return builder.vectorCase
}

/** NaN, infinity and overflow stay in their rows and columns. */
function extremes(type: WeightType): VectorCase {
  const K = 19
  const fine = randomNumbers(7, K)
  const rows = [fine, fine.with(18, NaN), fine, fine.with(0, Infinity), fine, fine.map((x) => x * 6e4)]
  const graph = new LinearGraph(type)
  const table = roundTo(
    type,
    rows.flatMap((row) => Array.from(row)),
  )
  const x = graph.activations('x', K, table)
  graph.finish({ y: graph.inner('s', graph.layer('y', x, 40)), last: graph.layer('last', x, 40) })
  const name = `linear, ${type}, extremes`
  const builder = new CaseBuilder(name, graph.graph, graph.weights, { type })
  builder.session({ maxTokens: rows.length })
  const whole = builder.truth(rowStep(rows.length))
  for (let row = 0; row < rows.length; row++) {
    builder.run(rowStep(1, row))
    builder.equal(0, 1, whole, row)
    // What was in the rows beside those that are alike has left no trace.
    if (row === 0) for (const alike of [2, 4]) builder.equal(0, 1, whole, alike)
  }
  return builder.vectorCase
}

const upTo = (most: number) => rowCounts.filter((count) => count <= most)

/** Columns in and out around the edges of tiles, of runs and of their number; and the rows to try them with. */
type Size = [K: number, size: number, counts: readonly number[]]

/** So many columns that every ring of weights is filled more than once. */
const long: Size = [4104, 24, [1, 7, 9, 17, 40]]

const sizes: Record<WeightType, Size[]> = {
  bf16: [
    [1, 1, rowCounts],
    [3, 63, rowCounts],
    [17, 65, rowCounts],
    [64, 64, rowCounts],
    [65, 130, rowCounts],
    [130, 31, rowCounts],
    [513, 136, rowCounts],
    [1030, 70, upTo(129)],
    // Rows that a tensor map can describe, more columns than a ring of Hopper's has stages for.
    [520, 200, [1, 16, 17, 128, 129, 300]],
    long,
  ],
  f16: [[3, 63, rowCounts], [65, 66, rowCounts], [514, 24, upTo(200)], long],
  f32: [[1, 1, rowCounts], [17, 65, upTo(200)], [64, 33, upTo(129)], [515, 24, upTo(129)], long],
}

export function linearCases(): VectorCase[] {
  const types: WeightType[] = ['bf16', 'f16', 'f32']
  return [
    ...types.flatMap((type) => [
      ...sizes[type].map(([K, size, counts]) => shapes(type, K, size, counts)),
      epilogues(type),
      slices(type),
      norms(type, [5, 64, 100]),
      ...(type === 'f16' ? [] : [norms(type, [520])]),
      extremes(type),
    ]),
    widened('bf16'),
    widened('f16'),
    inBlocks('bf16', 'q8', 520, 70),
    inBlocks('bf16', 'q4', 1032, 33),
    inBlocks('bf16', 'q4', 33, 130),
    inBlocks('f16', 'q8', 72, 40),
    inBlocks('f16', 'q4', 520, 24),
    inBlocks('f32', 'q4', 100, 40),
  ]
}
