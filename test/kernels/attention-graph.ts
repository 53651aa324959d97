import type { ValueId } from '#kvasir/graph/graph.js'
import { blockTokens } from '#kvasir/graph/graph.js'
import type { AttentionOptions } from '../graph/graph-builder.js'
import { Random } from '../graph/random.js'
import type { StepInputs } from '../graph/steps.js'
import { KernelGraph } from './kernel-graph.js'

/** One sequence's part of a step: its tokens from `first` on, at positions from `start` on. */
export interface Chunk {
  first: number
  start: number
  count: number
  /** Where its positions lie, a block for every 32. */
  blocks: readonly number[]
}

/** The tables of a step of chunks; entries of block tables that nothing needs are -1. */
export function pagedStep(chunks: readonly Chunk[]): StepInputs {
  const W = Math.max(...chunks.map(({ start, count }) => Math.ceil((start + count) / blockTokens)))
  const queryStarts = [0]
  for (const { count } of chunks) queryStarts.push(queryStarts.at(-1)! + count)
  const each = (number: (chunk: Chunk, i: number) => number) =>
    Int32Array.from(
      chunks.flatMap((chunk) => Array.from({ length: chunk.count }, (_, i) => number(chunk, i))),
    )
  return {
    tokens: each(({ first }, i) => first + i),
    positions: each(({ start }, i) => start + i),
    queryStarts: Int32Array.from(queryStarts),
    contextLengths: Int32Array.from(chunks, ({ start, count }) => start + count),
    blockTables: Int32Array.from(
      chunks.flatMap(({ start, count, blocks }) => {
        const used = Math.ceil((start + count) / blockTokens)
        return Array.from({ length: W }, (_, i) => (i < used ? blocks[i] : -1))
      }),
    ),
  }
}

/** All blocks of a cache in random order. */
export function shuffledBlocks(seed: number, count = 64): number[] {
  return new Random(seed).shuffle(Array.from({ length: count }, (_, block) => block))
}

/** Queries, keys and values of tokens, each a matrix with a row for every token. */
export interface Heads {
  q: Float32Array
  k: Float32Array
  v: Float32Array
}

/** Random heads of `count` tokens; scores spread over (-spread, spread) and more. */
export function randomHeads(seed: number, count: number, options: AttentionOptions, spread = 2): Heads {
  const random = new Random(seed)
  const { heads, kvHeads, headSize } = options
  const rows = (columns: number, scale: number) => Float32Array.from(random.numbers(count * columns, scale))
  return {
    q: rows(heads * headSize, spread * 3 ** 0.5),
    k: rows(kvHeads * headSize, 3 ** 0.5),
    v: rows(kvHeads * headSize, 1),
  }
}

/** Attention as `y`; token n has row n of the heads. */
export function attentionGraph({ q, k, v }: Heads, options: AttentionOptions): KernelGraph {
  const graph = new KernelGraph()
  const { heads, kvHeads, headSize } = options
  const matrix = (name: string, columns: number, rows: Float32Array): ValueId =>
    graph.activations(name, columns, rows)
  const inputs = [
    matrix('q', heads * headSize, q),
    matrix('k', kvHeads * headSize, k),
    matrix('v', kvHeads * headSize, v),
  ] as const
  graph.finish({ y: graph.attention('attention', ...inputs, options) })
  return graph
}
