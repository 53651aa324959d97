import { blockTokens } from '../graph/graph.js'
import type { Chunk, Step } from './scheduler.js'

export interface StepSizes {
  tokens: number
  rows: number
  sequences: number
  /** Blocks of one sequence. */
  blocks: number
}

/** The tables that say which tokens of which sequences a step feeds, written anew for every step. */
export class StepTables {
  readonly #tokens: Int32Array
  readonly #positions: Int32Array
  readonly #rows: Int32Array
  readonly #queryStarts: Int32Array
  readonly #contextLengths: Int32Array
  readonly #blockTables: Int32Array

  constructor({ tokens, rows, sequences, blocks }: StepSizes) {
    this.#tokens = new Int32Array(tokens)
    this.#positions = new Int32Array(tokens)
    this.#rows = new Int32Array(rows)
    this.#queryStarts = new Int32Array(sequences + 1)
    this.#contextLengths = new Int32Array(sequences)
    this.#blockTables = new Int32Array(sequences * blocks)
  }

  /** The step's inputs. The rows that chunks want are in their order; a step without any has the last token's. */
  fill({ chunks }: Step): Record<string, Int32Array> {
    let tokens = 0
    let rows = 0
    for (const [s, chunk] of chunks.entries()) {
      tokens = this.#addTokens(chunk, tokens)
      this.#queryStarts[s + 1] = tokens
      this.#contextLengths[s] = chunk.task.sequence.computed + chunk.count + chunk.drafts.length
      for (let row = tokens - chunk.rows; row < tokens; row++) this.#rows[rows++] = row
    }
    if (rows === 0) this.#rows[rows++] = tokens - 1
    return {
      tokens: this.#tokens.subarray(0, tokens),
      positions: this.#positions.subarray(0, tokens),
      outputRows: this.#rows.subarray(0, rows),
      queryStarts: this.#queryStarts.subarray(0, chunks.length + 1),
      contextLengths: this.#contextLengths.subarray(0, chunks.length),
      blockTables: this.#fillBlockTables(chunks),
    }
  }

  #addTokens({ task, count, drafts }: Chunk, at: number): number {
    const { ids, computed } = task.sequence
    for (let i = 0; i < count; i++) this.#tokens[at + i] = ids[computed + i]!
    for (let i = 0; i < drafts.length; i++) this.#tokens[at + count + i] = drafts[i]!
    const total = count + drafts.length
    for (let i = 0; i < total; i++) this.#positions[at + i] = computed + i
    return at + total
  }

  /** (S, W), as wide as the longest list of blocks; what a sequence does not use is 0. */
  #fillBlockTables(chunks: readonly Chunk[]): Int32Array {
    const width = Math.max(...chunks.map(({ task }) => task.sequence.blocks.length))
    const table = this.#blockTables.subarray(0, chunks.length * width).fill(0)
    for (const [s, { task }] of chunks.entries()) table.set(task.sequence.blocks, s * width)
    return table
  }
}

/** Blocks that `tokens` tokens take. */
export function blocksFor(tokens: number): number {
  return Math.ceil(tokens / blockTokens)
}
