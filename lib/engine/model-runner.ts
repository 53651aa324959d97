import { KvasirError } from '../errors.js'
import type { Graph } from '../graph/graph.js'
import { toNativeProgram } from '../graph/native-program.js'
import {
  optimize,
  withControlledSampling,
  withHidden,
  withProbabilities,
  withSampling,
} from '../graph/passes/index.js'
import type { Backend, KvCache, KvLayer, Program, StepLimits, WeightStore } from '../native/addon.js'
import { addon } from '../native/addon.js'
import type { CacheDType } from './messages.js'
import { mostBiases } from './messages.js'
import type { SampledRow } from './sampling-tables.js'
import { maxTop, SamplingTables } from './sampling-tables.js'
import type { GraphKind, Step, StepKind } from './scheduler.js'
import { blocksFor, StepTables } from './step-tables.js'

/** What a step is at most. */
export interface RunnerLimits {
  /** Tokens, of all sequences together. */
  tokens: number
  sequences: number
  /** Rows of a step that samples. */
  rows: number
}

/** Tokens of a step whose logits are all wanted: every row of them is vocabSize wide. */
const wideRows = 64

export interface RunnerSetup {
  backend: Backend
  store: WeightStore
  /** As recorded, with the output `logits`. */
  graph: Graph
  /** What the passes need to know to lay out weights as the store holds them. */
  layout: Parameters<typeof optimize>[1]
  layers: KvLayer[]
  vocabSize: number
  contextLength: number
  cacheDtype: Exclude<CacheDType, 'auto'>
  /** Blocks of the KV cache. */
  numBlocks: number
  limits: RunnerLimits
}

/** What a step sampled, row after row. */
export interface SampledRows {
  /** -1 where a row had nothing to choose from. */
  ids: Int32Array
  logprobs: Float32Array
  /** (R, maxTop), the likeliest first, -1 after those that were asked for; of steps with controls. */
  topIds?: Int32Array
  topLogprobs?: Float32Array
}

type ProgramName = Exclude<StepKind, GraphKind> | 'controlled'

export function rowsOf(kind: StepKind, limits: RunnerLimits): number {
  if (kind === 'sample') return limits.rows
  return kind === 'hidden' ? limits.tokens : wideRows
}

/** The limits of the program that samples, which takes the most memory. */
export function stepLimits(
  contextLength: number,
  limits: RunnerLimits,
  kind: StepKind = 'sample',
): StepLimits {
  return {
    maxTokens: limits.tokens,
    maxRows: rowsOf(kind, limits),
    maxSequences: limits.sequences,
    maxBlocks: blocksFor(contextLength),
  }
}

/** Runs steps on a loaded model, one at a time. */
export class ModelRunner {
  readonly #setup: RunnerSetup
  readonly #cache: KvCache | null
  readonly #tables: StepTables
  readonly #sampling: SamplingTables
  readonly #outputs: Required<SampledRows>
  readonly #programs = new Map<ProgramName, Program>()
  readonly #graphs = new Map<GraphKind, Program>()
  #prepared: Graph | undefined
  #hiddenSize: number | undefined
  /** Milliseconds that all steps so far spent in native code. */
  nativeMs = 0

  constructor(setup: RunnerSetup) {
    this.#setup = setup
    const { backend, layers, cacheDtype: dtype, numBlocks, limits, contextLength, vocabSize } = setup
    this.#cache = layers.length > 0 ? new (addon().KvCache)(backend, { layers, numBlocks, dtype }) : null
    const rows = Math.max(limits.rows, limits.tokens)
    this.#tables = new StepTables({ ...limits, rows, blocks: blocksFor(contextLength) })
    this.#sampling = new SamplingTables(limits.rows, vocabSize)
    this.#outputs = {
      ids: new Int32Array(limits.rows),
      logprobs: new Float32Array(limits.rows),
      topIds: new Int32Array(limits.rows * maxTop),
      topLogprobs: new Float32Array(limits.rows * maxTop),
    }
  }

  get cacheBytes(): number {
    return this.#cache?.bytes ?? 0
  }

  /** Of all programs so far. */
  get activationBytes(): number {
    return [...this.#programs.values()].reduce((bytes, program) => bytes + program.bytes, 0)
  }

  /** Compiles the program that generation needs, optimized already, so that the first request does not pay for it. */
  prepare(optimized: Graph): void {
    this.#prepared = optimized
    this.#programs.set('sample', this.#compile('sample', optimized))
  }

  dispose(): void {
    for (const program of [...this.#programs.values(), ...this.#graphs.values()]) program.dispose()
    this.#programs.clear()
    this.#graphs.clear()
    this.#cache?.dispose()
  }

  /** Copies whole blocks of the cache: (from, to) pairs. */
  copyBlocks(pairs: readonly number[]): void {
    if (pairs.length > 0) this.#cache?.copyBlocks(Int32Array.from(pairs))
  }

  /**
   * Runs a step that samples, `rows` being how its rows' tokens are chosen (one, unused, where no chunk wants any). The
   * result is valid until the next step; undefined when the flag was raised on the way.
   */
  sample(step: Step, rows: readonly SampledRow[], flag: Int32Array | null): SampledRows | undefined {
    const controlled = rows.some(({ controls }) => controls !== null)
    const tables = controlled ? this.#sampling.fillControlled(rows) : this.#sampling.fill(rows)
    const inputs = { ...this.#tables.fill(step), ...tables }
    const { ids, logprobs, topIds, topLogprobs } = this.#outputs
    const outputs: SampledRows = controlled ? { ids, logprobs, topIds, topLogprobs } : { ids, logprobs }
    const program = this.#program(controlled ? 'controlled' : 'sample')
    return this.#timed(() => program.run(inputs, { ...outputs }, flag)) ? outputs : undefined
  }

  /**
   * Runs up to `count` steps of sequences that each feed one token and sample the next, for which they have blocks. The
   * tokens are those of that many calls of `sample`, (steps, S); undefined when the flag was raised on the way.
   */
  sampleAhead(
    step: Step,
    rows: readonly SampledRow[],
    count: number,
    flag: Int32Array | null,
  ): SampledRows | undefined {
    const size = count * rows.length
    const outputs = { ids: new Int32Array(size).fill(-1), logprobs: new Float32Array(size).fill(Number.NaN) }
    const inputs = { ...this.#tables.fill(step), ...this.#sampling.fill(rows) }
    const program = this.#program('sample')
    const done = this.#timed(() => program.runAhead(inputs, count, outputs, flag))
    if (done === 0) return undefined
    return {
      ids: outputs.ids.subarray(0, done * rows.length),
      logprobs: outputs.logprobs.subarray(0, done * rows.length),
    }
  }

  /** Runs a step of another kind; its rows, one after another. Undefined when the flag was raised on the way. */
  compute(step: Step, flag: Int32Array | null): Float32Array | undefined {
    const { kind, chunks } = step
    if (kind === 'sample' || isGraphKind(kind))
      throw new KvasirError('ERR_INTERNAL', `runner: a step of kind ${kind} is not computed as rows`)
    const rows = Math.max(
      1,
      chunks.reduce((sum, chunk) => sum + chunk.rows, 0),
    )
    const result = new Float32Array(rows * this.#widthOf(kind))
    const program = this.#program(kind)
    const inputs = this.#tables.fill(step)
    return this.#timed(() => program.run(inputs, { [kind]: result }, flag)) ? result : undefined
  }

  #timed<T>(native: () => T): T {
    const startedAt = performance.now()
    const result = native()
    this.nativeMs += performance.now() - startedAt
    return result
  }

  /** Lets steps of a kind give what a graph of the same model does, until it is let go. */
  addGraph(kind: GraphKind, graph: Graph): void {
    const options = { ...this.#setup.layout, weightsLike: this.#prepared }
    this.#graphs.set(kind, this.#compile(kind, optimize(graph, options)))
  }

  removeGraph(kind: GraphKind): void {
    this.#graphs.get(kind)?.dispose()
    this.#graphs.delete(kind)
  }

  /** Runs a step with a graph that was added; false when the flag was raised on the way. */
  runGraph(step: Step, outputs: Record<string, Float32Array>, flag: Int32Array | null): boolean {
    const program = this.#graphs.get(step.kind as GraphKind)!
    const inputs = this.#tables.fill(step)
    return this.#timed(() => program.run(inputs, outputs, flag))
  }

  #widthOf(kind: StepKind): number {
    return kind === 'hidden' ? this.hiddenSize : this.#setup.vocabSize
  }

  /** Channels of what the head reads. */
  get hiddenSize(): number {
    if (this.#hiddenSize === undefined) {
      const { values, outputs } = withHidden(this.#setup.graph)
      this.#hiddenSize = values[outputs.hidden!]!.shape[1] as number
    }
    return this.#hiddenSize
  }

  #program(name: ProgramName): Program {
    const known = this.#programs.get(name)
    if (known) return known
    const { graph, layout } = this.#setup
    const options = { ...layout, weightsLike: this.#prepared }
    const program = this.#compile(name, optimize(tails[name](graph), options))
    this.#programs.set(name, program)
    return program
  }

  #compile(name: ProgramName | GraphKind, optimized: Graph): Program {
    const { backend, store, contextLength, limits, vocabSize } = this.#setup
    const kind = name === 'controlled' ? 'sample' : name
    const all = stepLimits(contextLength, limits, kind)
    if (name === 'controlled') {
      all.maxMasks = limits.rows
      all.maxEdits = Math.min(limits.rows * Math.min(vocabSize, contextLength + mostBiases), mostEdits)
    }
    return new (addon().Program)(backend, store, this.#cache, toNativeProgram(optimized), all)
  }
}

function isGraphKind(kind: StepKind): kind is GraphKind {
  return kind.startsWith('graph ')
}

/** Edits of the logits in one step. */
const mostEdits = 2 ** 20

const tails: Record<ProgramName, (graph: Graph) => Graph> = {
  sample: withSampling,
  controlled: (graph) => withControlledSampling(graph, { most: maxTop }),
  logits: (graph) => graph,
  probabilities: withProbabilities,
  hidden: withHidden,
}
