import { BlockPool } from '#kvasir/engine/block-pool.js'
import type { Chunk, StepKind, Task } from '#kvasir/engine/scheduler.js'
import { Scheduler } from '#kvasir/engine/scheduler.js'
import { Sequence } from '#kvasir/engine/sequence.js'
import { blockTokens, continuationOf, HashCache, hashesOf, hashOf, tokenAfter } from './hash-model.js'

// Scheduler, block pool and sequences at work on a model of hashes, everything checked that must hold at every step.

/** A request of a simulated schedule. */
export interface SimulatedRequest {
  /** The step before which it comes. */
  arrival: number
  kind: 'sample' | 'logits' | 'hidden'
  /** Texts of one family begin with the same tokens. */
  family: number
  common: number
  own: number
  /** Tokens to generate, or of which rows are wanted. */
  tokens: number
  samples: number
  priority: number
  salt: string
  reusesPrefix: boolean
  /** Steps after its arrival at which it is aborted; never where undefined. */
  abortAfter: number | undefined
  /** Steps after its arrival at which its reader is slow, and for how long. */
  pauseAfter: number
  pauseSteps: number
  /** Of four drafted tokens so many are right. */
  drafts: number
}

export interface SimulatedSchedule {
  blocks: number
  tokens: number
  promptTokens: number
  sequences: number
  rows: number
  lookahead: number
  /** Every so many steps one is interrupted half way; never where 0. */
  interrupted: number
  requests: SimulatedRequest[]
}

function check(holds: boolean, what: string): void {
  if (!holds) throw new Error(what)
}

class SimulatedTask implements Task {
  readonly sequence: Sequence
  readonly request: SimulatedRequest
  readonly promptLength: number
  readonly salt: string
  /** Of `sequence.ids`, so far. */
  readonly hashes: number[] = []
  readonly rowsTaken: number[] = []
  finished = false
  isPaused = false
  /** Whether it was fed since it got its blocks. */
  isRunning = false

  constructor(sequence: Sequence, request: SimulatedRequest, salt: string) {
    this.sequence = sequence
    this.request = request
    this.salt = salt
    this.promptLength = sequence.ids.length
  }

  get kind(): StepKind {
    return this.request.kind
  }
  get priority(): number {
    return this.request.priority
  }
  get waits(): boolean {
    return this.finished || this.isPaused || this.sequence.pending === 0
  }
  /** The most ids it may have; the last one is never computed. */
  get most(): number {
    return this.promptLength + this.request.tokens
  }

  drafts(most: number): readonly number[] {
    check(most > 0, `drafts: ${most} are asked for`)
    const { drafts } = this.request
    if (this.kind !== 'sample' || drafts === 0) return []
    const count = Math.min(4, most, this.most - this.sequence.ids.length - 1)
    if (count < 1) return []
    return continuationOf(this.sequence.ids, count).map((id, i) => (i < drafts ? id : id + 1))
  }

  rows(count: number, drafts: number): number {
    if (this.kind === 'hidden') return count
    return count === this.sequence.pending ? 1 + drafts : 0
  }

  trueHash(position: number): number {
    const { ids } = this.sequence
    this.hashes.length = Math.min(this.hashes.length, ids.length)
    while (this.hashes.length <= position)
      this.hashes.push(hashOf(this.hashes.at(-1) ?? 1, ids[this.hashes.length]!))
    return this.hashes[position]!
  }
}

export class Simulation {
  readonly pool: BlockPool
  readonly scheduler: Scheduler<SimulatedTask>
  readonly #schedule: SimulatedSchedule
  readonly #cache: HashCache
  readonly #tasks = new Set<SimulatedTask>()
  #step = 0
  completed = 0
  aborted = 0
  reused = 0

  constructor(schedule: SimulatedSchedule) {
    this.#schedule = schedule
    this.pool = new BlockPool(schedule.blocks)
    this.#cache = new HashCache(schedule.blocks)
    const { tokens, promptTokens, sequences, rows } = schedule
    this.scheduler = new Scheduler(this.pool, { tokens, promptTokens, sequences, rows: () => rows })
  }

  /** Runs until all is done; throws where something does not hold. */
  run(mostSteps: number): void {
    const { requests } = this.#schedule
    const last = Math.max(...requests.map(({ arrival }) => arrival))
    while (this.#step <= last || this.#tasks.size > 0) {
      check(this.#step < mostSteps, `not done after ${mostSteps} steps`)
      for (const request of requests) if (request.arrival === this.#step) this.#arrive(request)
      for (const task of this.#tasks) this.#changeTask(task)
      this.#runStep()
      this.#checkBlocks()
      this.#step++
    }
    check(this.pool.available === this.pool.size, 'blocks were lost')
    check(this.scheduler.running === 0 && this.scheduler.waiting === 0, 'tasks were left')
  }

  #arrive(request: SimulatedRequest): void {
    const { family, common, own, salt, arrival, kind } = request
    const reusesPrefix = request.reusesPrefix && kind !== 'hidden' // of which every row is wanted
    const ids = Array.from({ length: common + own }, (_, i) =>
      i < common ? 100 * family + (i % 7) : 500 + 10 * arrival + (i % 9),
    )
    this.#add(new SimulatedTask(new Sequence(ids, { salt, reusesPrefix }), request, salt))
  }

  #add(task: SimulatedTask): void {
    this.#tasks.add(task)
    this.scheduler.add(task)
  }

  #changeTask(task: SimulatedTask): void {
    const { arrival, abortAfter, pauseAfter, pauseSteps } = task.request
    const age = this.#step - arrival
    task.isPaused = age >= pauseAfter && age < pauseAfter + pauseSteps
    if (abortAfter === undefined || age < abortAfter) return
    this.aborted++
    this.#remove(task)
  }

  #remove(task: SimulatedTask): void {
    check(this.#tasks.delete(task), 'a task ended twice')
    this.scheduler.remove(task)
  }

  #runStep(): void {
    const decoding = [...this.#tasks].filter(
      (task) =>
        task.isRunning && !task.waits && task.sequence.pending === 1 && task.sequence.blocks.length > 0,
    )
    const wantsToGoOn = [...this.#tasks].some((task) => !task.waits)
    const step = this.scheduler.plan()
    check(step !== undefined || !wantsToGoOn, 'nobody goes on')
    if (!step) return
    this.#checkStep(step.chunks, step.kind, decoding)
    for (const { task } of step.chunks) task.isRunning = true
    for (const task of this.#tasks) if (task.sequence.blocks.length === 0) task.isRunning = false
    const { interrupted } = this.#schedule
    if (interrupted > 0 && this.#step % interrupted === interrupted - 1) this.#interrupt(step.chunks)
    else this.#runChunks(step.chunks)
  }

  #checkStep(chunks: readonly Chunk<SimulatedTask>[], kind: StepKind, decoding: SimulatedTask[]): void {
    const { tokens, promptTokens, sequences, rows } = this.#schedule
    const sum = (of: (chunk: Chunk<SimulatedTask>) => number) => chunks.reduce((n, chunk) => n + of(chunk), 0)
    check(sum(({ count, drafts }) => count + drafts.length) <= tokens, 'too many tokens')
    check(sum((chunk) => chunk.rows) <= rows, 'too many rows')
    check(chunks.length > 0 && chunks.length <= sequences, 'too many sequences')
    check(new Set(chunks.map(({ task }) => task)).size === chunks.length, 'a task is fed twice')
    for (const { task, count, drafts, rows: wanted } of chunks) {
      check(this.#tasks.has(task) && !task.waits && task.kind === kind, 'a wrong task is fed')
      check(count >= 1 && count <= task.sequence.pending, 'a wrong count')
      check(drafts.length === 0 || count === task.sequence.pending, 'drafts before the end')
      check(wanted === task.rows(count, drafts.length), 'wrong rows')
    }
    const fed = new Set(chunks.map(({ task }) => task))
    const decodes = decoding.filter((task) => task.kind === kind)
    const others = sum(({ task, count }) => (decodes.includes(task) ? 0 : count))
    if (decodes.some((task) => fed.has(task))) check(others <= promptTokens, 'prompts hold up the others')
    if (decodes.length > Math.min(sequences, tokens, rows)) return // a slow reader has come back
    for (const task of decodes) {
      const { sequence } = task
      const hasBlocks = sequence.missingBlocks(sequence.computed + 1) === 0
      check(fed.has(task) || !hasBlocks, 'a text is held up')
    }
  }

  /** What an interrupted step leaves behind where it was to write. */
  #interrupt(chunks: readonly Chunk<SimulatedTask>[]): void {
    for (const { task, count, drafts } of chunks)
      for (let i = 0; i < count + drafts.length; i += 2) this.#write(task, task.sequence.computed + i, -2)
  }

  #runChunks(chunks: readonly Chunk<SimulatedTask>[]): void {
    const ahead = this.#stepsAhead(chunks)
    for (const chunk of chunks) {
      this.#compute(chunk)
      for (let i = 1; i < ahead && this.#tasks.has(chunk.task) && !chunk.task.finished; i++)
        this.#compute({ task: chunk.task, count: 1, drafts: [], rows: 1 })
    }
  }

  #stepsAhead(chunks: readonly Chunk<SimulatedTask>[]): number {
    const { lookahead } = this.#schedule
    const isPlain = ({ task, count, drafts, rows }: Chunk<SimulatedTask>) =>
      task.kind === 'sample' && count === 1 && drafts.length === 0 && rows === 1
    if (this.scheduler.waiting > 0 || !chunks.every(isPlain)) return 1
    const steps = Math.min(lookahead, ...chunks.map(({ task }) => task.most - task.sequence.ids.length))
    const reserved = chunks.every(({ task: { sequence } }) =>
      sequence.reserve(sequence.ids.length + steps - 1, this.pool),
    )
    return reserved ? Math.max(1, steps) : 1
  }

  #compute({ task, count, drafts, rows }: Chunk<SimulatedTask>): void {
    const { sequence } = task
    const start = sequence.computed
    if (!task.rowsTaken.length && start > this.reused) this.reused = start
    for (let at = 0; at < start; at++)
      check(this.#cache.read(sequence.blocks, at) === task.trueHash(at), `position ${at} holds another text`)
    let hash = start > 0 ? this.#cache.read(sequence.blocks, start - 1) : 1
    const results: number[] = []
    for (let i = 0; i < count + drafts.length; i++) {
      hash = hashOf(hash, i < count ? sequence.ids[start + i]! : drafts[i - count]!)
      this.#write(task, start + i, hash)
      results.push(hash)
    }
    this.#take(task, { start, count, drafts, rows: results.slice(results.length - rows) })
  }

  #write({ sequence }: SimulatedTask, position: number, hash: number): void {
    const block = sequence.blocks[position >> 5]
    check(block !== undefined, 'there is no block to write to')
    check(this.pool.owners(block!) === 1, 'a shared block is written')
    this.#cache.write(sequence.blocks, position, hash)
  }

  #take(
    task: SimulatedTask,
    {
      start,
      count,
      drafts,
      rows,
    }: { start: number; count: number; drafts: readonly number[]; rows: number[] },
  ): void {
    const { sequence } = task
    if (task.kind === 'hidden')
      for (const [i, row] of rows.entries()) task.rowsTaken[start + count - rows.length + i] = row
    let computed = start + count
    if (task.kind === 'sample' && rows.length > 0)
      for (let i = 0; ; i++) {
        const id = tokenAfter(rows[i]!)
        sequence.ids.push(id)
        if (sequence.ids.length === task.most || drafts[i] !== id) break
        computed++
      }
    if (task.kind === 'logits' && rows.length > 0) task.rowsTaken.push(rows[0]!)
    sequence.commit(computed, this.pool)
    this.#afterTake(task, rows.length > 0)
  }

  #afterTake(task: SimulatedTask, hasRows: boolean): void {
    const { request, sequence } = task
    if (task.kind === 'sample') {
      if (hasRows && request.samples > 1 && task.salt === request.salt) this.#fork(task)
      if (sequence.ids.length < task.most) return
      const prompt = sequence.ids.slice(0, task.promptLength)
      const expected = continuationOf(prompt, request.tokens)
      check(sequence.ids.slice(task.promptLength).join() === expected.join(), 'a text is wrong')
    } else {
      if (sequence.pending > 0) return
      const hashes = hashesOf(sequence.ids)
      if (task.kind === 'hidden') check(task.rowsTaken.join() === hashes.join(), 'rows are wrong')
      else check(task.rowsTaken.at(-1) === hashes.at(-1), 'a row is wrong')
      if (task.kind === 'logits' && this.#goesOn(task)) return
    }
    task.finished = true
    this.completed++
    this.#remove(task)
  }

  /** The other texts of the same prompt, which begin where its keys and values end. */
  #fork(task: SimulatedTask): void {
    const { request, promptLength } = task
    const siblings = [...this.#tasks].filter((other) => other.request === request).length
    if (siblings > 1 || task.sequence.ids.length > promptLength + 1 + request.drafts) return
    const copies: number[] = []
    for (let i = 1; i < request.samples; i++) {
      const fork = task.sequence.fork(promptLength - 1, this.pool, copies)
      fork.ids.push(task.sequence.ids[promptLength - 1]!)
      this.#add(new SimulatedTask(fork, request, `${request.salt} fork`))
    }
    this.#cache.copy(copies)
  }

  /** A kept sequence that is cut back and appended to, until it is as long as was asked for. */
  #goesOn(task: SimulatedTask): boolean {
    const { sequence, request } = task
    const rounds = task.rowsTaken.length
    if (rounds > request.samples) return false
    const { length } = sequence.ids
    sequence.truncate(Math.max(1, length - ((rounds * 13) % 40)), this.pool)
    task.hashes.length = Math.min(task.hashes.length, sequence.ids.length)
    const room = this.#schedule.blocks * blockTokens - sequence.ids.length
    for (let i = 0; i < Math.min(room, 1 + rounds * 5); i++) sequence.ids.push(700 + i)
    return sequence.pending > 0
  }

  /** Every block that a sequence has is counted; several have full ones alone. */
  #checkBlocks(): void {
    const owners = new Int32Array(this.pool.size)
    let used = 0
    for (const { sequence } of this.#tasks)
      for (const block of sequence.blocks) if (owners[block]!++ === 0) used++
    for (let block = 0; block < owners.length; block++)
      check(owners[block] === this.pool.owners(block), `block ${block} has wrong owners`)
    check(used === this.pool.size - this.pool.available, 'used blocks are miscounted')
    for (const { sequence } of this.#tasks)
      for (const [i, block] of sequence.blocks.entries())
        check(owners[block] === 1 || (i + 1) * blockTokens <= sequence.computed, 'a shared block is not full')
  }
}
