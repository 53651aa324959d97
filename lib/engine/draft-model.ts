import type { BlockPool } from './block-pool.js'
import { DraftSequence } from './draft-sequence.js'
import type { ModelRunner } from './model-runner.js'
import type { SampleTask } from './sample-task.js'
import type { SampledRow } from './sampling-tables.js'
import type { Step } from './scheduler.js'
import { StepCosts } from './step-costs.js'

export interface DraftModelSetup {
  runner: ModelRunner
  pool: BlockPool
  /** Tokens that a sequence may have. */
  contextLength: number
  /** Tokens that are fed before a step of the model itself. */
  promptTokens: number
  /** Raised when everything is to end. */
  stop: Int32Array
}

/** What a draft step feeds of one text. */
interface Part {
  task: SampleTask
  draft: DraftSequence
  count: number
}

/**
 * A smaller model with the same vocabulary, which guesses the next tokens of many texts at once.
 *
 * It samples each place's token with the parameters, the seed and the counter that the model itself will use there: where
 * their distributions are alike, so are the tokens, at any temperature; where they are the same, all are right.
 */
export class DraftModel {
  /** Of its steps that feed each text one token or two, by texts. */
  readonly costs = new StepCosts()
  readonly #setup: DraftModelSetup
  readonly #drafts = new Map<SampleTask, DraftSequence>()

  constructor(setup: DraftModelSetup) {
    this.#setup = setup
  }

  get contextLength(): number {
    return this.#setup.contextLength
  }

  get nativeMs(): number {
    return this.#setup.runner.nativeMs
  }

  /** Blocks of its cache that it uses. */
  get usedBlocks(): number {
    return this.#setup.pool.counts.usedBlocks
  }

  /** Gives back the blocks of all texts but these. */
  keepOnly(tasks: readonly SampleTask[]): void {
    if (this.#drafts.size === 0) return
    const kept = new Set(tasks)
    for (const [task, draft] of this.#drafts) {
      if (kept.has(task)) continue
      draft.sequence.release(this.#setup.pool)
      this.#drafts.delete(task)
    }
  }

  /**
   * Guesses `depth` tokens of each text; of those whose tokens it has not all seen yet, it looks at more of them instead.
   */
  guess(tasks: readonly SampleTask[], depth: number): Map<SampleTask, number[]> {
    const parts = this.#plan(tasks, depth)
    const guesses = new Map<SampleTask, number[]>()
    if (parts.length === 0) return guesses
    const flag = (tasks.length === 1 ? tasks[0]!.drafter?.request.flag : undefined) ?? this.#setup.stop
    const ready = parts.filter(({ draft, count }) => count === draft.sequence.pending)
    for (const { task } of ready) guesses.set(task, [])
    const oneEach = ready.length === parts.length && parts.every(({ count }) => count === 1)
    if (oneEach) this.#ahead(ready, depth, guesses, flag)
    else if (this.#first(parts, ready, guesses, flag)) this.#ahead(ready, depth - 1, guesses, flag)
    return guesses
  }

  /** What to feed, with blocks for it and for the guesses; texts for which there are none are left out. */
  #plan(tasks: readonly SampleTask[], depth: number): Part[] {
    const { promptTokens } = this.#setup
    const drafts = tasks.map((task) => this.#draftOf(task))
    const busy = new Set(drafts)
    const parts: Part[] = []
    // One token of each goes in whatever the limit, as in a step of the model itself.
    let left = Math.max(promptTokens, 2 * drafts.length)
    for (const [i, draft] of drafts.entries()) {
      const { sequence } = draft
      const count = Math.min(sequence.pending, left)
      const isReady = count === sequence.pending
      const length = sequence.computed + count + (isReady ? depth - 1 : 0)
      if (count < 1 || !this.#reserve(draft, Math.min(length, this.contextLength), busy)) continue
      left -= count
      parts.push({ task: tasks[i]!, draft, count })
    }
    return parts
  }

  #draftOf(task: SampleTask): DraftSequence {
    const { pool } = this.#setup
    let draft = this.#drafts.get(task)
    if (!draft) {
      const { salt = '', reusesPrefix = false } = task.drafter?.request ?? {}
      draft = new DraftSequence(task, { salt, reusesPrefix }, pool)
      this.#drafts.set(task, draft)
    }
    draft.follow(task.sequence.ids, pool)
    return draft
  }

  /** Takes blocks, from texts that are not guessed now where there are none. */
  #reserve({ sequence }: DraftSequence, length: number, busy: ReadonlySet<DraftSequence>): boolean {
    const { pool } = this.#setup
    while (!sequence.reserve(length, pool)) {
      const idle = [...this.#drafts.values()].find((one) => !busy.has(one) && one.sequence.blocks.length > 0)
      if (!idle) return false
      idle.sequence.release(pool)
    }
    return true
  }

  /** Feeds the parts and guesses one token of those that are ready. False when the flag was raised. */
  #first(
    parts: readonly Part[],
    ready: readonly Part[],
    guesses: ReadonlyMap<SampleTask, number[]>,
    flag: Int32Array,
  ): boolean {
    const { runner, pool } = this.#setup
    const chunks = parts.map((part) => ({
      task: part.draft,
      count: part.count,
      drafts: [],
      rows: ready.includes(part) ? 1 : 0,
    }))
    // A row is always computed; where none is ready it is not looked at.
    const rows = (ready.length > 0 ? ready : parts.slice(0, 1)).map(({ task }) => nextRow(task))
    const before = runner.nativeMs
    const sampled = runner.sample({ kind: 'sample', chunks }, rows, flag)
    if (!sampled) return false
    if (parts.every(({ count }) => count <= 2)) this.costs.record(parts.length, runner.nativeMs - before)
    for (const { draft, count } of parts) draft.commit(draft.sequence.computed + count, pool)
    for (const [row, part] of ready.entries()) this.#add(part, sampled.ids[row]!, guesses)
    return true
  }

  /** Guesses up to `count` tokens more of texts that have one to feed, on the device. */
  #ahead(
    parts: readonly Part[],
    count: number,
    guesses: ReadonlyMap<SampleTask, number[]>,
    flag: Int32Array,
  ): void {
    const { runner, pool } = this.#setup
    const going = parts.filter(({ draft }) => draft.sequence.pending === 1)
    const room = Math.min(count, ...going.map(({ draft }) => this.contextLength - draft.sequence.computed))
    if (going.length === 0 || room < 1) return
    const chunks = going.map(({ draft }) => ({ task: draft, count: 1, drafts: [], rows: 1 }))
    const rows = going.map(({ task, draft }) => nextRow(task, draft.sequence.ids.length))
    const step: Step = { kind: 'sample', chunks }
    const before = runner.nativeMs
    const sampled = runner.sampleAhead(step, rows, room, flag)
    if (!sampled) return
    const steps = sampled.ids.length / going.length
    this.costs.record(going.length, (runner.nativeMs - before) / steps)
    for (const [row, part] of going.entries()) {
      for (let i = 0; i < steps; i++) {
        part.draft.commit(part.draft.sequence.computed + 1, pool)
        if (!this.#add(part, sampled.ids[i * going.length + row]!, guesses)) break
      }
    }
  }

  /** Where the draft model had nothing to choose from (-1), the guesses end. */
  #add({ task, draft }: Part, id: number, guesses: ReadonlyMap<SampleTask, number[]>): boolean {
    if (id < 0) return false
    draft.sequence.ids.push(id)
    guesses.get(task)!.push(id)
    return true
  }
}

/** How a task's next token is chosen, or one at a later position. */
function nextRow(task: SampleTask, position?: number): SampledRow {
  const [row] = task.choices({ task, count: task.sequence.pending, drafts: [], rows: 1 })
  return position === undefined ? row! : { ...row!, position }
}
