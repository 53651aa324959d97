import { AbortError } from '../errors.js'
import { BeamSearch } from './beam-search.js'
import type { DraftModel } from './draft-model.js'
import { Embedding } from './embedding.js'
import { packError } from './error-transfer.js'
import type { ModelContext } from './generation.js'
import { Generation } from './generation.js'
import { GraphRun } from './graph-run.js'
import { KeptSequences } from './kept-sequences.js'
import type { FromWorker, Request, Results, Stats } from './messages.js'
import { flags } from './messages.js'
import type { ModelRunner } from './model-runner.js'
import { Outbox } from './outbox.js'
import { logits, nextTokens } from './row-requests.js'
import type { RowsTask } from './rows-task.js'
import type { SampleTask } from './sample-task.js'
import type { SampledRow } from './sampling-tables.js'
import type { Chunk, SchedulerLimits, Step } from './scheduler.js'
import { Scheduler } from './scheduler.js'
import { Speculation } from './speculation.js'
import { Turns } from './turns.js'

type AnyTask = SampleTask | RowsTask | GraphRun

/** A request under way: what runs for it, and what it ends with, once that is there. */
interface Work {
  readonly request: Request
  readonly tasks: AnyTask[]
  answer(): Results[keyof Results] | undefined
  /** Undoes what it has done where it does not come to its end. */
  undo?(): void
}

interface Arrival {
  request: Request
  arrivedAt: number
}

export interface ServingSetup {
  runner: ModelRunner
  /** Guesses tokens for `runner` to verify. */
  draftModel: DraftModel | null
  context: ModelContext
  limits: SchedulerLimits
  /** Steps that decoding may run ahead of what the callers have seen. */
  lookahead: number
  /** Raised when everything is to end. */
  stop: Int32Array
  post(message: FromWorker, transfer?: ArrayBuffer[]): void
}

/** Arrivals are looked at for so long between two steps: a text of a megabyte takes half a second to split. */
const arrivalMs = 5

/** The event loop has its turn at least so often. */
const turnMs = 50

/** Serves requests, many at once: one step after another, each with whatever is to be done. */
export class Serving {
  readonly #setup: ServingSetup
  readonly #scheduler: Scheduler<AnyTask>
  readonly #kept: KeptSequences
  readonly #outbox: Outbox
  readonly #speculation: Speculation
  readonly #works = new Map<number, Work>()
  readonly #ofTask = new Map<AnyTask, Work>()
  readonly #arrivals: Arrival[] = []
  /** Of the requests of each kept sequence, by its number. */
  readonly #turns = new Turns<Arrival>()
  #wake = () => {}
  #disposed = false
  /** When the last step ended, or work came after a rest. */
  #since = performance.now()

  constructor(setup: ServingSetup) {
    this.#setup = setup
    this.#scheduler = new Scheduler(setup.context.pool, setup.limits)
    this.#kept = new KeptSequences(setup.context, this.#scheduler)
    this.#outbox = new Outbox(setup.post)
    this.#speculation = new Speculation(setup.draftModel)
  }

  receive(request: Request): void {
    this.#arrivals.push({ request, arrivedAt: performance.now() })
    this.#wake()
  }

  /** Something has changed: a flag, or that all is to end. */
  wake(): void {
    this.#wake()
  }

  dispose(): void {
    this.#disposed = true
    this.#wake()
  }

  /**
   * Runs until `dispose`. Between steps control goes back to the event loop from time to time; `takeMessages`, which brings
   * in what has come meanwhile, takes a fifth as long.
   */
  async run(takeMessages: () => void): Promise<void> {
    let turnedAt = performance.now()
    while (!this.#disposed) {
      const isBusy = this.#step()
      if (isBusy && this.#since - turnedAt < turnMs) {
        takeMessages()
        continue
      }
      await (isBusy ? nextTurn() : this.#somethingNew())
      turnedAt = performance.now()
      if (!isBusy) this.#since = turnedAt
    }
  }

  /** False where there was nothing to do. */
  #step(): boolean {
    const nativeBefore = this.#nativeMs
    this.#dropAborted()
    this.#guessTokens()
    this.#beginArrivals(performance.now() + arrivalMs)
    const step = this.#scheduler.plan()
    if (!step) {
      this.#outbox.flush()
      return this.#arrivals.length > 0
    }
    this.#runStep(step)
    this.#outbox.flushDue()
    this.#countStep(this.#nativeMs - nativeBefore)
    return true
  }

  get #nativeMs(): number {
    const { runner, draftModel } = this.#setup
    return runner.nativeMs + (draftModel?.nativeMs ?? 0)
  }

  /** Decides which tokens the next step will verify. */
  #guessTokens(): void {
    const decoding = this.#scheduler.decoding('sample') as SampleTask[]
    const { tokens, rows } = this.#setup.limits
    try {
      this.#speculation.prepare(decoding, Math.min(tokens, rows('sample')) - decoding.length)
    } catch (error) {
      for (const task of decoding) if (task.drafter) this.#failTask(task, error)
    }
  }

  /** What lies between two steps is the engine's own work, too: messages that come in, and the collection of garbage. */
  #countStep(nativeMs: number): void {
    const now = performance.now()
    this.#setup.context.stats.step(nativeMs, now - this.#since - nativeMs)
    this.#since = now
  }

  #somethingNew(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve
      if (this.#arrivals.length > 0 || this.#disposed) resolve()
    })
  }

  #beginArrivals(until: number): void {
    do {
      const arrival = this.#arrivals.shift()
      if (!arrival) return
      const { request, arrivedAt } = arrival
      if (request.type === 'sequence' && !this.#turns.take(request.sequence, arrival)) continue
      try {
        if (isStopped(request)) throw new AbortError(`${request.type}: aborted`)
        this.#begin(request, arrivedAt)
      } catch (error) {
        this.#fail(request, error)
      }
    } while (performance.now() < until)
  }

  #begin(request: Request, arrivedAt: number): void {
    const work = this.#workFor(request, arrivedAt)
    this.#works.set(request.id, work)
    for (const task of work.tasks) this.#addTask(task, work)
    this.#settleIfDone(work)
  }

  #addTask(task: AnyTask, work: Work): void {
    this.#ofTask.set(task, work)
    if (work.request.type !== 'sequence') this.#scheduler.add(task) // kept ones are there already
  }

  #removeTask(task: AnyTask): void {
    this.#ofTask.delete(task)
    this.#scheduler.remove(task)
  }

  #workFor(request: Request, arrivedAt: number): Work {
    const { context } = this.#setup
    switch (request.type) {
      case 'generate': {
        const emit = (piece: Parameters<Outbox['push']>[1]) => this.#outbox.push(request.id, piece)
        if (request.beams > 0) {
          const search = new BeamSearch(request, context, { arrivedAt, emit })
          return { request, tasks: search.tasks, answer: () => search.result() }
        }
        const generation = new Generation(request, context, { arrivedAt, emit })
        const answer = () => (generation.finished ? generation.result() : undefined)
        generation.begin()
        return { request, tasks: generation.continuations, answer }
      }
      case 'nextTokens':
        return { request, ...nextTokens(request, context) }
      case 'logits':
        return { request, ...logits(request, context) }
      case 'embed': {
        const embedding = new Embedding(request, context, this.#setup.runner.hiddenSize)
        return { request, tasks: embedding.tasks, answer: () => embedding.result() }
      }
      case 'sequence': {
        const { task, answer, undo } = this.#kept.begin(request)
        const answered = () => (!task || task.sequence.pending === 0 ? answer() : undefined)
        return { request, tasks: task ? [task] : [], answer: answered, undo }
      }
      case 'graph': {
        const run = new GraphRun(request, context, this.#setup.runner)
        return { request, tasks: [run], answer: () => run.result() }
      }
      case 'display': {
        const texts = request.ids.map((id) => context.tokenizer?.display(id) ?? String(id))
        return { request, tasks: [], answer: () => texts }
      }
      case 'stats':
        return { request, tasks: [], answer: () => this.#stats() }
      case 'tokenize': {
        const ids = requireTokenizer(context).encode(request.text, {
          addSpecialTokens: request.addSpecialTokens,
        })
        return { request, tasks: [], answer: () => ids }
      }
      case 'detokenize': {
        const text = requireTokenizer(context).decode(request.ids)
        return { request, tasks: [], answer: () => text }
      }
    }
  }

  /** Ends the work of those that nobody waits for any more; their blocks are free for the step to come. */
  #dropAborted(): void {
    for (const work of this.#works.values())
      if (isStopped(work.request)) this.#fail(work.request, new AbortError(`${work.request.type}: aborted`))
  }

  #runStep(step: Step<AnyTask>): void {
    try {
      const [{ task }] = step.chunks as [Chunk<AnyTask>]
      const take =
        step.kind === 'sample'
          ? this.#sample(step)
          : task instanceof GraphRun
            ? this.#runGraph(step, task)
            : this.#compute(step)
      take?.()
    } catch (error) {
      for (const { task } of step.chunks) this.#failTask(task, error)
    }
  }

  /** Runs a step that samples; gives what takes its results. */
  #sample(step: Step<AnyTask>): (() => void) | undefined {
    const { runner } = this.#setup
    const chunks = step.chunks as readonly Chunk<SampleTask>[]
    const rows = chunks.flatMap((chunk) => (chunk.rows > 0 ? chunk.task.choices(chunk) : []))
    if (rows.length === 0) rows.push(unusedRow)
    const ahead = this.#stepsAhead(chunks)
    const flag = this.#flagOf(step)
    const nativeBefore = runner.nativeMs
    const sampled = ahead > 1 ? runner.sampleAhead(step, rows, ahead, flag) : runner.sample(step, rows, flag)
    if (!sampled) return undefined
    const ms = (runner.nativeMs - nativeBefore) / (ahead > 1 ? sampled.ids.length / rows.length : 1)
    return () => {
      let row = 0
      for (const chunk of chunks) {
        const first = row
        row += chunk.rows
        if (!this.#ofTask.has(chunk.task)) continue // another text of its request has failed
        this.#guarded(chunk.task, () => {
          if (ahead > 1) chunk.task.takeAhead(sampled, first, chunks.length)
          else chunk.task.take(chunk, sampled, first)
          this.#afterTokens(chunk.task)
        })
      }
      this.#speculation.ran(chunks, ms)
    }
  }

  #afterTokens(task: SampleTask): void {
    const work = this.#ofTask.get(task)!
    const { begun, ended } = task.settle()
    for (const other of begun) this.#addTask(other, work)
    for (const other of ended) this.#removeTask(other)
    this.#settleIfDone(work)
  }

  /** How many steps to run at once: more than one where every sequence feeds a token and nobody waits to come in. */
  #stepsAhead(chunks: readonly Chunk<SampleTask>[]): number {
    const { lookahead, context } = this.#setup
    if (lookahead === 1 || this.#scheduler.waiting > 0 || this.#arrivals.length > 0) return 1
    if (chunks.some(({ count, drafts, rows }) => count !== 1 || drafts.length > 0 || rows !== 1)) return 1
    const steps = Math.min(lookahead, ...chunks.map(({ task }) => task.mostAhead))
    const reserved = chunks.every(({ task: { sequence } }) =>
      sequence.reserve(sequence.ids.length + steps - 1, context.pool),
    )
    return reserved ? Math.max(1, steps) : 1
  }

  #compute(step: Step<AnyTask>): (() => void) | undefined {
    const { runner, context } = this.#setup
    const chunks = step.chunks as readonly Chunk<RowsTask>[]
    const rows = runner.compute(step, this.#flagOf(step))
    if (!rows) return undefined
    const count = Math.max(
      1,
      chunks.reduce((sum, chunk) => sum + chunk.rows, 0),
    )
    const width = rows.length / count
    return () => {
      let row = 0
      for (const chunk of chunks) {
        const own = rows.subarray(row * width, (row + chunk.rows) * width)
        row += chunk.rows
        context.stats.count('promptTokens', chunk.count)
        this.#guarded(chunk.task, () => {
          chunk.task.take(chunk, own, context.pool)
          this.#afterRows(chunk.task)
        })
      }
    }
  }

  #afterRows(task: RowsTask): void {
    const work = this.#ofTask.get(task)
    if (!work) return
    if (task.isDone && work.request.type !== 'sequence') this.#removeTask(task) // others may have its blocks
    this.#settleIfDone(work)
  }

  #runGraph(step: Step<AnyTask>, run: GraphRun): (() => void) | undefined {
    const done = run.run(step, this.#flagOf(step))
    return done ? () => this.#settleIfDone(this.#ofTask.get(run)!) : undefined
  }

  /** The flag that may end the step half way: that of the request that most of it is for, or the engine's own. */
  #flagOf({ chunks }: Step<AnyTask>): Int32Array {
    const total = chunks.reduce((sum, { count }) => sum + count, 0)
    const largest = chunks.find(({ count }) => 2 * count > total)
    return (largest && this.#ofTask.get(largest.task)?.request.flag) ?? this.#setup.stop
  }

  /** What goes wrong with one task is not the others' concern. */
  #guarded(task: AnyTask, body: () => void): void {
    try {
      body()
    } catch (error) {
      this.#failTask(task, error)
    }
  }

  #failTask(task: AnyTask, error: unknown): void {
    const work = this.#ofTask.get(task)
    if (work) this.#fail(work.request, error)
  }

  #settleIfDone(work: Work): void {
    const result = this.#works.has(work.request.id) ? work.answer() : undefined
    if (result === undefined) return
    this.#forget(work.request)
    if (work.tasks.length > 0) this.#setup.context.stats.count('completed')
    this.#outbox.answer({ type: 'result', id: work.request.id, result }, transferOf(result))
  }

  #fail(request: Request, error: unknown): void {
    this.#works.get(request.id)?.undo?.()
    this.#forget(request)
    this.#setup.context.stats.count(error instanceof AbortError ? 'aborted' : 'failed')
    this.#outbox.answer({ type: 'error', id: request.id, error: packError(error) })
  }

  #forget(request: Request): void {
    const work = this.#works.get(request.id)
    this.#works.delete(request.id)
    for (const task of work?.tasks ?? []) {
      this.#ofTask.delete(task)
      if (task instanceof GraphRun) task.dispose()
      if (request.type !== 'sequence') this.#scheduler.remove(task)
    }
    if (request.type !== 'sequence') return
    this.#kept.end(request.sequence)
    this.#arrivals.unshift(...this.#turns.end(request.sequence))
  }

  #stats(): Stats {
    const { context, runner } = this.#setup
    const { pool } = context
    return {
      running: this.#scheduler.running,
      waiting: this.#scheduler.waiting + this.#arrivals.length,
      preemptions: this.#scheduler.preemptions,
      cache: { ...pool.counts, bytes: runner.cacheBytes },
      speculation: this.#speculation.counts,
      ...context.stats.read(),
    }
  }
}

/** A row is always computed; of a step in which nobody wants one it is not looked at. */
const unusedRow: SampledRow = {
  sampling: { temperature: 0, topK: 0, typicalP: 1, topP: 1, minP: 0, seed: [0, 0] },
  position: 0,
  controls: null,
}

function isStopped(request: Request): boolean {
  return Atomics.load(request.flag, flags.stop) !== 0
}

/** Large results are handed over, not copied. */
function transferOf(result: Results[keyof Results]): ArrayBuffer[] {
  const data = (result as { data?: Float32Array }).data
  return data ? [data.buffer as ArrayBuffer] : []
}

function requireTokenizer({ tokenizer }: ModelContext) {
  if (!tokenizer)
    throw Object.assign(new TypeError('tokenizer: the model has none'), { code: 'ERR_UNSUPPORTED' })
  return tokenizer
}

/** Lets the event loop do what else there is for it. */
function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
