import type { BlockPool } from './block-pool.js'
import type { Chunk, GraphKind, StepKind, Task } from './scheduler.js'
import type { Sequence } from './sequence.js'

/** What a task gets rows of, instead of tokens. */
export type RowsKind = Exclude<StepKind, 'sample' | GraphKind>

export interface RowsOptions {
  kind: RowsKind
  /** Whether every token's row is wanted, or the last one's alone. */
  everyRow: boolean
  /** As a request's; 0 by default. */
  priority?: number
  /** False while nobody waits for the rows; always true by default. */
  isWanted?(): boolean
  /** Takes each row that was wanted, of the token at `position`; the array is valid during the call. */
  onRow(row: Float32Array, position: number): void
}

/** A sequence of which rows of results are wanted. */
export class RowsTask implements Task {
  readonly sequence: Sequence
  readonly priority: number
  readonly #options: RowsOptions
  /** Of all rows, those before this one were taken: a sequence that lost its blocks is computed again. */
  #taken = 0

  constructor(sequence: Sequence, options: RowsOptions) {
    this.sequence = sequence
    this.priority = options.priority ?? 0
    this.#options = options
  }

  get kind(): RowsKind {
    return this.#options.kind
  }

  get waits(): boolean {
    return this.sequence.pending === 0 || this.#options.isWanted?.() === false
  }

  /** All rows that were wanted have been taken. */
  get isDone(): boolean {
    return this.#taken === this.sequence.ids.length
  }

  drafts(): readonly number[] {
    return []
  }

  rows(count: number): number {
    if (this.#options.everyRow) return count
    return count === this.sequence.pending ? 1 : 0
  }

  /** Takes a chunk's rows, one after another in `rows`. */
  take(chunk: Chunk, rows: Float32Array, pool: BlockPool): void {
    const end = this.sequence.computed + chunk.count
    const width = rows.length / Math.max(1, chunk.rows)
    for (let i = 0; i < chunk.rows; i++) {
      const position = end - chunk.rows + i
      if (this.#options.everyRow && position < this.#taken) continue
      this.#taken = position + 1
      this.#options.onRow(rows.subarray(i * width, (i + 1) * width), position)
    }
    this.sequence.commit(end, pool)
  }
}
