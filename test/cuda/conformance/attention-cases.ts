import type { ValueId } from '#kvasir/graph/graph.js'
import type { AttentionOptions } from '../../graph/graph-builder.js'
import type { StepInputs } from '../../graph/steps.js'
import type { Heads } from '../../kernels/attention-graph.js'
import { attentionGraph, pagedStep, randomHeads, shuffledBlocks } from '../../kernels/attention-graph.js'
import { KernelGraph } from '../../kernels/kernel-graph.js'
import type { WeightType } from '../../kernels/numbers.js'
import { randomNumbers, roundTo, roundToCache } from '../../kernels/numbers.js'
import type { StepHandle } from './case-builder.js'
import { CaseBuilder } from './case-builder.js'
import type { VectorCase } from './vector-file.js'

const alibi = (heads: number) => Array.from({ length: heads }, (_, h) => 2 ** (-8 * ((h + 1) / heads)))

const shape = (heads: number, kvHeads: number, headSize: number, rest = {}): AttentionOptions => ({
  heads,
  kvHeads,
  headSize,
  ...rest,
})

/** Every head size and rule, in turn with one, some and all heads sharing keys. */
const variants: AttentionOptions[] = [
  shape(2, 2, 16),
  shape(3, 3, 17, { softcap: 3 }),
  shape(3, 1, 24, { window: 1 }),
  shape(2, 1, 32, { scale: 0.4, window: 32 }),
  shape(4, 1, 64),
  shape(4, 2, 64, { softcap: 1.5, slopes: alibi(4), window: 70 }),
  shape(3, 1, 80, { slopes: alibi(3) }),
  shape(2, 1, 96, { window: 65 }),
  shape(2, 1, 128),
  shape(2, 2, 128, { softcap: 20, window: 100 }),
  shape(1, 1, 192),
  shape(2, 1, 256, { slopes: alibi(2), window: 100 }),
  // Heads of one token that do not fit a tile together.
  shape(20, 1, 40),
]

/** Those that f16 and f32 are tried with too. */
const someVariants = [0, 4, 6, 9, 11].map((i) => variants[i]!)

/** `4 of 2 x 64, window 33` */
function nameOf({ heads, kvHeads, headSize, ...rules }: AttentionOptions): string {
  const named = Object.entries(rules).map(([key, value]) => `, ${key}${key === 'slopes' ? '' : ` ${value}`}`)
  return `${heads} of ${kvHeads} x ${headSize}${named.join('')}`
}

const roundHeads = (type: WeightType, { q, k, v }: Heads): Heads => ({
  q: roundTo(type, q),
  k: roundTo(type, k),
  v: roundTo(type, v),
})

/** Ways to cut a prompt into steps. */
function chunkings(total: number): number[][] {
  const even = (size: number) =>
    Array.from({ length: Math.ceil(total / size) }, (_, i) => Math.min(size, total - i * size))
  return [[total - 1, 1], [1, 64, 40, 1, 1, total - 107], even(37)]
}

/**
 * A prompt whole, then in chunks, then single tokens of it in captured graphs, then beside another sequence; each with
 * the bits of the whole.
 */
function chunked(
  builder: CaseBuilder,
  stepOf: (start: number, count: number, seed: number) => StepInputs,
  total: number,
) {
  const feed = (start: number, count: number, seed: number, whole: StepHandle) => {
    builder.run(stepOf(start, count, seed))
    builder.equal(0, count, whole, start)
  }
  builder.session({ maxTokens: total })
  const whole = builder.truth(stepOf(0, total, 1))
  chunkings(total).forEach((counts, i) => {
    builder.session({ maxTokens: total })
    let start = 0
    for (const count of counts) {
      feed(start, count, i + 2, whole)
      start += count
    }
  })
  builder.session({ maxTokens: total, checked: false })
  feed(0, total - 3, 9, whole)
  for (const start of [total - 3, total - 2, total - 1]) feed(start, 1, 9, whole)
  return whole
}

function attention(type: WeightType, options: AttentionOptions, cacheDtype?: 'q8'): VectorCase {
  const total = 140
  const heads = roundHeads(type, randomHeads(options.headSize, total, options))
  const graph = attentionGraph(heads, options)
  const name = `attention, ${type}, ${nameOf(options)}${cacheDtype ? `, cache in ${cacheDtype}` : ''}`
  const cached = (parameter: string, numbers: Float32Array) =>
    cacheDtype && parameter !== 'q'
      ? roundTo(type, roundToCache(cacheDtype, numbers, options.headSize))
      : numbers
  const builder = new CaseBuilder(name, graph.graph, graph.weights, { type, cacheDtype, cached })
  const stepOf = (start: number, count: number, seed: number) =>
    pagedStep([{ first: start, start, count, blocks: shuffledBlocks(seed) }])
  const whole = chunked(builder, stepOf, total)
  mixed(builder, whole)
  return builder.vectorCase
}

/** Several sequences with the same tokens, in prompts, chunks and single tokens side by side. */
function mixed(builder: CaseBuilder, whole: StepHandle): void {
  const blocks = shuffledBlocks(5)
  const sequences = [0, 1, 2, 3].map((s) => ({ start: 0, blocks: blocks.slice(9 * s, 9 * s + 9) }))
  for (const checked of [true, false]) {
    builder.session({ maxTokens: 200, checked })
    for (const sequence of sequences) sequence.start = 0
    for (const counts of [
      [33, 1, 70],
      [1, 5, 40, 13],
      [1, 1, 1, 31],
      [1, 64, 1, 1],
      [1, 1, 1, 1],
    ]) {
      const chunks = counts.map((count, s) => {
        const { start, blocks } = sequences[s]!
        sequences[s]!.start += count
        return { first: start, start, count, blocks }
      })
      builder.run(pagedStep(chunks))
      let row = 0
      for (const { start, count } of chunks) {
        builder.equal(row, count, whole, start)
        row += count
      }
    }
  }
}

/** Keys by the hundred, which blocks share, and the last of them alone. */
function long(type: WeightType, options: AttentionOptions, total: number): VectorCase {
  const heads = roundHeads(type, randomHeads(4, total, options))
  const graph = attentionGraph(heads, options)
  const name = `attention, ${type}, ${total} tokens, ${nameOf(options)}`
  const builder = new CaseBuilder(name, graph.graph, graph.weights, { type })
  const stepOf = (start: number, count: number, seed: number) =>
    pagedStep([{ first: start, start, count, blocks: shuffledBlocks(seed) }])
  chunked(builder, stepOf, total)
  return builder.vectorCase
}

/** Queries and keys that are rotated where keys are appended; by a table that a step's positions give. */
function rotated(type: WeightType, interleaved: boolean): VectorCase {
  const [heads, kvHeads, headSize, total] = [4, 2, 20, 120]
  const graph = new KernelGraph()
  const rows = (name: string, cols: number, seed: number): ValueId =>
    graph.activations(name, cols, roundTo(type, randomNumbers(seed, total * cols, 2)))
  const table = graph.ropeTable('table', [1, 0.3, 0.1, 0.01, 0.001, 1e-4])
  const q = graph.rope('q', rows('q', heads * headSize, 1), table, heads, interleaved)
  const k = graph.rope('k', rows('k', kvHeads * headSize, 2), table, kvHeads, interleaved)
  const v = rows('v', kvHeads * headSize, 3)
  graph.finish({ y: graph.attention('attention', q, k, v, { heads, kvHeads, headSize }) })
  const name = `attention, ${type}, rotated${interleaved ? ', interleaved' : ''}`
  const builder = new CaseBuilder(name, graph.graph, graph.weights, { type })
  const stepOf = (start: number, count: number, seed: number) =>
    pagedStep([{ first: start, start, count, blocks: shuffledBlocks(seed) }])
  chunked(builder, stepOf, total)
  return builder.vectorCase
}

export function attentionCases(): VectorCase[] {
  const types: WeightType[] = ['bf16', 'f16', 'f32']
  const inBytes: [WeightType, number][] = [
    ['bf16', 4],
    ['bf16', 9],
    ['bf16', 12],
    ['f16', 6],
    ['f32', 5],
  ]
  const ofNumbers = types.flatMap((type) => [
    ...(type === 'bf16' ? variants : someVariants).map((options) => attention(type, options)),
    long(type, shape(8, 4, 16), 520),
    ...(type === 'bf16' ? [long(type, shape(1, 1, 128, { window: 300 }), 600)] : []),
    rotated(type, false),
    rotated(type, true),
  ])
  return [...ofNumbers, ...inBytes.map(([type, i]) => attention(type, variants[i]!, 'q8'))]
}
