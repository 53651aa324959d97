import type { Drafter } from './drafter.js'
import type { SampledRows } from './model-runner.js'
import type { SampledRow } from './sampling-tables.js'
import type { Chunk, Task } from './scheduler.js'

/** A task whose rows choose tokens. */
export interface SampleTask extends Task {
  readonly kind: 'sample'
  /** Where its next tokens may be guessed. */
  readonly drafter?: Drafter | null
  /** How the tokens of a chunk's rows are chosen, in their order. */
  choices(chunk: Chunk): SampledRow[]
  /** Takes what a chunk's rows sampled, which begin at row `first`. */
  take(chunk: Chunk, sampled: SampledRows, first: number): void
  /** After that: tasks that begin because of it, and those that are at their end. */
  settle(): { begun: SampleTask[]; ended: SampleTask[] }
  /** Steps that may be run ahead of what is known: 1 where it decides itself about each. */
  readonly mostAhead: number
  /** Takes the steps that ran ahead: their rows, `stride` apart, from `first` on. */
  takeAhead(sampled: SampledRows, first: number, stride: number): void
}
