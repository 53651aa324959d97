import type { BlockPool } from './block-pool.js'
import type { Sequence } from './sequence.js'

/** What a step ends with: tokens that were sampled, all logits, the next token's distribution, or what the head reads. */
export type StepKind = 'sample' | 'logits' | 'probabilities' | 'hidden' | GraphKind
/** What a graph of the caller's gives; each is a kind of its own. */
export type GraphKind = `graph ${number}`

/** A sequence that wants to go on. */
export interface Task {
  readonly sequence: Sequence
  readonly kind: StepKind
  /** Higher goes first. */
  readonly priority: number
  /** Has nothing to feed now, or its reader is slow. It keeps its blocks unless others need them. */
  readonly waits: boolean
  /** Ids that may come after the sequence's last one, at most `most`, to be verified in the same step. */
  drafts(most: number): readonly number[]
  /** How many of the last rows are wanted of a step that feeds `count` of its tokens, and drafts where those end it. */
  rows(count: number, drafts: number): number
}

/** A task's part in a step: `count` tokens from the first one not computed on, and `drafts` behind them. */
export interface Chunk<T extends Task = Task> {
  readonly task: T
  readonly count: number
  readonly drafts: readonly number[]
  /** Of the last tokens, drafts included, those whose rows are wanted. */
  readonly rows: number
}

export interface Step<T extends Task = Task> {
  readonly kind: StepKind
  readonly chunks: readonly Chunk<T>[]
}

export interface SchedulerLimits {
  /** Tokens of a step. */
  tokens: number
  /** Tokens of prompts in a step in which others are continued: how much longer they wait for it. */
  promptTokens: number
  /** Sequences of a step. */
  sequences: number
  /** Rows of a step of a kind. */
  rows(kind: StepKind): number
}

interface Entry<T extends Task> {
  readonly task: T
  /** When it came. */
  readonly order: number
  /** The step at which it began to wait. */
  since: number
  /** Its priority, and what it gained by waiting. */
  level: number
}

/** Steps of waiting that count as one more of priority, so that nobody waits for ever. */
const stepsPerLevel = 256

/** What is left of a step while it is planned. */
class Room<T extends Task> {
  readonly chunks = new Map<Entry<T>, Chunk<T>>()
  tokens: number
  rows: number
  /** Tokens of prompts. */
  promptTokens: number
  readonly #ofPrompts = new Set<Entry<T>>()

  constructor(tokens: number, rows: number) {
    this.tokens = tokens
    this.rows = rows
    this.promptTokens = tokens
  }

  add(entry: Entry<T>, chunk: Chunk<T>, ofPrompt: boolean): void {
    this.chunks.set(entry, chunk)
    this.tokens -= chunk.count + chunk.drafts.length
    this.rows -= chunk.rows
    if (!ofPrompt) return
    this.promptTokens -= chunk.count
    this.#ofPrompts.add(entry)
  }

  drop(entry: Entry<T>): void {
    const chunk = this.chunks.get(entry)
    if (!chunk) return
    this.chunks.delete(entry)
    this.tokens += chunk.count + chunk.drafts.length
    this.rows += chunk.rows
    if (this.#ofPrompts.delete(entry)) this.promptTokens += chunk.count
  }
}

/**
 * Decides what each step feeds: sequences that are being continued first, a token each, then prompts in chunks, within one
 * budget of tokens (Agrawal et al. 2024, https://arxiv.org/abs/2403.02310). New ones are let in while there are blocks for
 * their prompts, by priority, then in the order they came. Where blocks run out, the last in that order gives its own back
 * and computes them again later; the results are the same bits.
 */
export class Scheduler<T extends Task = Task> {
  readonly #pool: BlockPool
  readonly #limits: SchedulerLimits
  readonly #waiting: Entry<T>[] = []
  readonly #running: Entry<T>[] = []
  #steps = 0
  #orders = 0
  #lastKind: StepKind | undefined
  /** The first in rank of those for which there were too few blocks: who ranks below, of whatever kind, does not overtake. */
  #blocked: Entry<T> | undefined
  #preemptions = 0

  constructor(pool: BlockPool, limits: SchedulerLimits) {
    this.#pool = pool
    this.#limits = limits
  }

  /** Tasks that would go on if they were let in. */
  get waiting(): number {
    return this.#waiting.reduce((count, { task }) => count + (task.waits ? 0 : 1), 0)
  }
  get running(): number {
    return this.#running.length
  }
  /** How often a sequence had to give back its blocks. */
  get preemptions(): number {
    return this.#preemptions
  }

  add(task: T): void {
    this.#waiting.push({ task, order: this.#orders++, since: this.#steps, level: task.priority })
  }

  /** Forgets a task and gives its blocks back. */
  remove(task: T): void {
    for (const entries of [this.#running, this.#waiting]) {
      const at = entries.findIndex((entry) => entry.task === task)
      if (at >= 0) entries.splice(at, 1)
    }
    if (this.#blocked?.task === task) this.#blocked = undefined
    task.sequence.release(this.#pool)
  }

  *tasks(): Generator<T> {
    for (const { task } of this.#running) yield task
    for (const { task } of this.#waiting) yield task
  }

  /** Tasks of a kind that would each be continued by one token. */
  decoding(kind: StepKind): T[] {
    return this.#running
      .filter(({ task }) => task.kind === kind && !task.waits && task.sequence.pending === 1)
      .map(({ task }) => task)
  }

  /** The next step, with blocks for all it feeds; undefined where there is nothing to do. */
  plan(): Step<T> | undefined {
    this.#steps++
    do {
      for (const kind of this.#kindsInTurn()) {
        const chunks = this.#chunksOf(kind)
        if (chunks.length === 0) continue
        this.#lastKind = kind
        return { kind, chunks }
      }
    } while (this.#clearTheWay())
    return undefined
  }

  /**
   * Where some hold blocks that others need, and nobody can go on, the last in rank makes room for the first. False where
   * nobody wants to go on.
   */
  #clearTheWay(): boolean {
    const [first, ...others] = [...this.#running, ...this.#waiting].sort(byRank)
    if (!first || first.task.waits) return false
    const inTheWay = ({ task }: Entry<T>) => task.sequence.blocks.length > 0
    const victim = others.findLast((entry) => this.#running.includes(entry) || inTheWay(entry))
    if (victim) this.#preempt(victim)
    return victim !== undefined
  }

  /** Kinds take turns, so that none holds up another. */
  #kindsInTurn(): StepKind[] {
    const kinds = [...new Set([...this.tasks()].map((task) => task.kind))].sort()
    const next = kinds.findIndex((kind) => this.#lastKind === undefined || kind > this.#lastKind)
    return next <= 0 ? kinds : [...kinds.slice(next), ...kinds.slice(0, next)]
  }

  #chunksOf(kind: StepKind): Chunk<T>[] {
    const room = new Room<T>(this.#limits.tokens, this.#limits.rows(kind))
    const runnable = this.#running.filter(({ task }) => task.kind === kind && !task.waits).sort(byRank)
    const decoding = runnable.filter(({ task }) => task.sequence.pending === 1)
    for (const [i, entry] of decoding.entries())
      this.#feed(entry, room, { ofPrompt: false, behind: decoding.length - 1 - i })
    if (room.chunks.size > 0) room.promptTokens = this.#limits.promptTokens
    for (const entry of runnable)
      if (entry.task.sequence.pending > 1) this.#feed(entry, room, { ofPrompt: true, behind: 0 })
    this.#admit(kind, room)
    return [...room.chunks.values()]
  }

  /**
   * Adds as many of the entry's tokens to the step as there is room for, if blocks can be had for them. Drafts leave a token
   * and a row to each of those `behind` it.
   */
  #feed(entry: Entry<T>, room: Room<T>, { ofPrompt, behind }: { ofPrompt: boolean; behind: number }): void {
    const { task } = entry
    const { sequence } = task
    // A decoding step may have preempted it meanwhile.
    if (!this.#running.includes(entry) || room.chunks.size >= this.#limits.sequences) return
    let count = Math.min(sequence.pending, room.tokens, ofPrompt ? room.promptTokens : 1)
    if (count < 1) return
    const forDrafts = Math.min(room.tokens - count, room.rows - 1) - behind
    let drafts: readonly number[] = []
    if (count === sequence.pending && forDrafts > 0) drafts = this.#draftsOf(task, forDrafts, behind)
    let rows = task.rows(count, drafts.length)
    // Where a row is wanted for every token, rows are what limits the chunk.
    if (rows > room.rows && rows === count) {
      count = room.rows
      rows = count > 0 ? task.rows(count, 0) : 0
    }
    if (count < 1 || rows > room.rows) return
    if (!this.#makeRoom(entry, sequence.computed + count, room)) return
    // Drafts take no blocks from others.
    if (drafts.length > 0 && !sequence.reserve(sequence.computed + count + drafts.length, this.#pool)) {
      drafts = []
      rows = task.rows(count, 0)
    }
    room.add(entry, { task, count, drafts, rows }, ofPrompt)
  }

  /** Drafts take no other's place: where a block for them might be needed by one of those `behind`, there are none. */
  #draftsOf(task: T, most: number, behind: number): readonly number[] {
    const drafts = task.drafts(most)
    if (drafts.length === 0) return drafts
    const missing = task.sequence.missingBlocks(task.sequence.ids.length + drafts.length)
    return missing === 0 || missing + behind <= this.#pool.available ? drafts : []
  }

  /** Takes blocks for `length` tokens, from others that rank below where there are none. */
  #makeRoom(entry: Entry<T>, length: number, room: Room<T>): boolean {
    const { sequence } = entry.task
    while (!sequence.reserve(length, this.#pool)) {
      const victim = this.#holders().findLast((holder) => byRank(entry, holder) < 0)
      if (!victim) return false
      this.#preempt(victim, room)
    }
    return true
  }

  /** Entries that have blocks, by rank. */
  #holders(): Entry<T>[] {
    const holds = ({ task }: Entry<T>) => task.sequence.blocks.length > 0
    return [...this.#running, ...this.#waiting].filter(holds).sort(byRank)
  }

  #preempt(victim: Entry<T>, room?: Room<T>): void {
    room?.drop(victim)
    victim.task.sequence.release(this.#pool)
    this.#preemptions++
    const at = this.#running.indexOf(victim)
    if (at < 0) return
    this.#running.splice(at, 1)
    // What it gained by waiting it keeps.
    victim.since = this.#steps - (victim.level - victim.task.priority) * stepsPerLevel
    this.#waiting.push(victim)
  }

  /** Lets waiting tasks of a kind in, the first in rank first, while there is room; nobody overtakes. */
  #admit(kind: StepKind, room: Room<T>): void {
    for (const entry of this.#waiting)
      entry.level = entry.task.priority + Math.floor((this.#steps - entry.since) / stepsPerLevel)
    const most = Math.min(this.#limits.sequences, this.#limits.tokens) // each is to have its token in every step
    const candidates = this.#waiting.filter(({ task }) => task.kind === kind && !task.waits).sort(byRank)
    for (const entry of candidates) {
      const busy = this.#running.reduce((count, { task }) => count + (task.waits ? 0 : 1), 0)
      if (busy >= most || Math.min(room.tokens, room.promptTokens, room.rows) < 1) return
      if (this.#isBlocked(entry)) return
      if (!this.#takeBlocks(entry, room)) {
        this.#blocked = entry
        return
      }
      if (this.#blocked === entry) this.#blocked = undefined
      this.#waiting.splice(this.#waiting.indexOf(entry), 1)
      this.#running.push(entry)
      this.#feed(entry, room, { ofPrompt: true, behind: 0 })
    }
  }

  /** Whether one that ranks above waits for blocks. */
  #isBlocked(entry: Entry<T>): boolean {
    const blocked = this.#blocked
    return blocked !== undefined && blocked !== entry && !blocked.task.waits && byRank(blocked, entry) < 0
  }

  /**
   * Whether all of a waiting task's tokens can have blocks beside what the running ones still need: the rest of their
   * prompts, or their next. Those of lower priority make room for it; where nobody runs, all do that rank below it.
   */
  #takeBlocks(entry: Entry<T>, room: Room<T>): boolean {
    const { sequence } = entry.task
    const held = sequence.blocks.length
    sequence.takePrefix(this.#pool)
    const needed = ({ task }: Entry<T>) => Math.max(1, task.sequence.missingBlocks(task.sequence.ids.length))
    const missing = () =>
      sequence.missingBlocks(sequence.ids.length) +
      this.#running.reduce((sum, running) => sum + needed(running), 0) -
      this.#pool.available
    const idle = this.#running.every(({ task }) => task.waits)
    const yields = (holder: Entry<T>) =>
      holder.task.waits || holder.level < entry.task.priority || (idle && byRank(entry, holder) < 0)
    while (missing() > 0) {
      const victim = this.#holders().findLast((holder) => holder !== entry && yields(holder))
      if (!victim) break
      this.#preempt(victim, room)
    }
    // Alone it needs no reserve.
    const alone = this.#holders().every((holder) => holder === entry)
    if (missing() <= 0 || alone) return true
    if (held === 0) sequence.release(this.#pool)
    return false
  }
}

/** Those that wait for nothing first, then by level, then as they came. */
function byRank<T extends Task>(a: Entry<T>, b: Entry<T>): number {
  return Number(a.task.waits) - Number(b.task.waits) || b.level - a.level || a.order - b.order
}
