import { AbortError, NumericError } from '../errors.js'
import type { Graph } from '../graph/graph.js'
import { blockTokens } from '../graph/graph.js'
import { toNativeProgram } from '../graph/native-program.js'
import { optimize, withProbabilities, withSampling } from '../graph/passes/index.js'
import type { Backend, KvCache, KvLayer, Program, StepLimits, WeightStore } from '../native/addon.js'
import { addon } from '../native/addon.js'
import type { CacheDType, SamplingOptions } from './messages.js'

/** Tokens of a prompt that one step takes; longer prompts take several. */
const prefillTokens = 512
/** Tokens of a step whose logits are all wanted: every row of them is vocabSize wide. */
const logitsTokens = 64

const greedy: SamplingOptions = { temperature: 0, topK: 0, topP: 1, minP: 0, seed: [0, 0] }

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
  /** Steps that decoding may run at once. */
  lookahead: number
}

export interface Sampled {
  id: number
  logprob: number
}

/** What steps of one sequence are at most. */
export function stepLimits(contextLength: number, rows = 1): StepLimits {
  return {
    maxTokens: prefillTokens,
    maxRows: rows,
    maxSequences: 1,
    maxBlocks: Math.ceil(contextLength / blockTokens),
  }
}

/** The step tables of one sequence, written anew for every step. */
class SequenceTables {
  readonly inputs: Record<string, Int32Array | Float32Array>
  readonly #maxTokens: number
  readonly #tokens: Int32Array
  readonly #positions: Int32Array
  readonly #rows: Int32Array
  readonly #bounds = new Int32Array(2)
  readonly #contextLength = new Int32Array(1)

  constructor(maxTokens: number, numBlocks: number) {
    this.#maxTokens = maxTokens
    this.#tokens = new Int32Array(maxTokens)
    this.#positions = new Int32Array(maxTokens)
    this.#rows = Int32Array.from({ length: maxTokens }, (_, i) => i)
    this.inputs = {
      queryStarts: this.#bounds,
      contextLengths: this.#contextLength,
      blockTables: Int32Array.from({ length: numBlocks }, (_, i) => i),
    }
  }

  /** The step that feeds `ids[from..]`, at most `most` of them; their number. */
  fill(ids: ArrayLike<number>, from: number, most: number, allRows: boolean): number {
    const count = Math.min(ids.length - from, most, this.#maxTokens)
    for (let i = 0; i < count; i++) {
      this.#tokens[i] = ids[from + i] as number
      this.#positions[i] = from + i
    }
    this.#bounds[1] = count
    this.#contextLength[0] = from + count
    this.inputs.tokens = this.#tokens.subarray(0, count)
    this.inputs.positions = this.#positions.subarray(0, count)
    this.inputs.outputRows = this.#rows.subarray(allRows ? 0 : count - 1, count)
    return count
  }
}

/** Runs steps of one sequence on a loaded model. One at a time: they share the cache. */
export class ModelRunner {
  readonly #setup: RunnerSetup
  readonly #cache: KvCache | null
  readonly #numBlocks: number
  readonly #tables: SequenceTables
  readonly #sampling: Record<string, Int32Array | Float32Array>
  readonly #sampled = { ids: new Int32Array(1), logprobs: new Float32Array(1) }
  #programs = new Map<string, Program>()

  constructor(setup: RunnerSetup) {
    this.#setup = setup
    this.#numBlocks = Math.ceil(setup.contextLength / blockTokens)
    const { backend, layers, cacheDtype: dtype } = setup
    this.#cache =
      layers.length > 0 ? new (addon().KvCache)(backend, { layers, numBlocks: this.#numBlocks, dtype }) : null
    this.#tables = new SequenceTables(prefillTokens, this.#numBlocks)
    this.#sampling = {
      temperature: new Float32Array(1),
      topK: new Int32Array(1),
      topP: new Float32Array(1),
      minP: new Float32Array(1),
      seed: new Int32Array(2),
      counter: new Int32Array(1),
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
    this.#programs.set('sample', this.#compile(optimized, 1))
  }

  dispose(): void {
    for (const program of this.#programs.values()) program.dispose()
    this.#programs.clear()
    this.#cache?.dispose()
  }

  /**
   * Feeds `ids[from..]` in steps; after the last one returns the token sampled after it. Between steps control goes
   * back to the event loop.
   *
   * @throws {AbortError} when the flag is raised
   */
  async sample(
    ids: ArrayLike<number>,
    from: number,
    sampling: SamplingOptions,
    flag: Int32Array,
  ): Promise<Sampled> {
    const program = this.#program('sample')
    this.#setSampling(sampling, ids.length)
    const inputs = this.#tables.inputs
    for (let at = from; at < ids.length; ) {
      at += this.#tables.fill(ids, at, prefillTokens, false)
      Object.assign(inputs, this.#sampling)
      if (!program.run(inputs, this.#sampled, flag)) throw new AbortError('generate: aborted')
      await yieldToMessages()
    }
    return chosen({ id: this.#sampled.ids[0] as number, logprob: this.#sampled.logprobs[0] as number })
  }

  /**
   * Samples up to `count` tokens, each after the one before it, when all of `ids` but the last have been fed. The same
   * tokens as that many calls of `sample`; at most `lookahead` of them, without coming back in between.
   *
   * @throws {AbortError} when the flag is raised
   */
  async sampleAhead(
    ids: ArrayLike<number>,
    count: number,
    sampling: SamplingOptions,
    flag: Int32Array,
  ): Promise<Sampled[]> {
    const room = this.#setup.contextLength - ids.length + 1
    const steps = Math.min(count, this.#setup.lookahead, room)
    if (steps <= 1) return [await this.sample(ids, ids.length - 1, sampling, flag)]
    const program = this.#program('sample')
    this.#setSampling(sampling, ids.length)
    const inputs = this.#tables.inputs
    this.#tables.fill(ids, ids.length - 1, 1, false)
    Object.assign(inputs, this.#sampling)
    const outputs = { ids: new Int32Array(steps), logprobs: new Float32Array(steps) }
    const done = program.runAhead(inputs, steps, outputs, flag)
    if (done < steps && outputs.ids[done - 1] !== -1) throw new AbortError('generate: aborted')
    await yieldToMessages()
    return Array.from(outputs.ids.subarray(0, done), (id, i) =>
      chosen({ id, logprob: outputs.logprobs[i] as number }),
    )
  }

  /** The distribution of the token after `ids`, (vocabSize,). */
  async probabilities(ids: ArrayLike<number>, flag: Int32Array): Promise<Float32Array> {
    const program = this.#program('probabilities')
    const probabilities = new Float32Array(this.#setup.vocabSize)
    for (let at = 0; at < ids.length; ) {
      at += this.#tables.fill(ids, at, prefillTokens, false)
      if (!program.run(this.#tables.inputs, { probabilities }, flag))
        throw new AbortError('nextTokens: aborted')
      await yieldToMessages()
    }
    return probabilities
  }

  /** The logits after every token, (ids.length, vocabSize). */
  async logits(ids: ArrayLike<number>, flag: Int32Array): Promise<Float32Array> {
    const program = this.#program('logits')
    const V = this.#setup.vocabSize
    const all = new Float32Array(ids.length * V)
    for (let at = 0; at < ids.length; ) {
      const from = at
      at += this.#tables.fill(ids, at, logitsTokens, true)
      const logits = all.subarray(from * V, at * V)
      if (!program.run(this.#tables.inputs, { logits }, flag)) throw new AbortError('logits: aborted')
      await yieldToMessages()
    }
    return all
  }

  #setSampling({ temperature, topK, topP, minP, seed }: SamplingOptions, position: number): void {
    const tables = this.#sampling
    tables.temperature!.fill(temperature)
    tables.topK!.fill(topK)
    tables.topP!.fill(topP)
    tables.minP!.fill(minP)
    tables.seed!.set(seed)
    tables.counter!.fill(position)
  }

  #program(kind: 'sample' | 'probabilities' | 'logits'): Program {
    const known = this.#programs.get(kind)
    if (known) return known
    const { graph, layout } = this.#setup
    const tail = { sample: withSampling, probabilities: withProbabilities, logits: (g: Graph) => g }[kind]
    const program = this.#compile(optimize(tail(graph), layout), kind === 'logits' ? logitsTokens : 1)
    this.#programs.set(kind, program)
    return program
  }

  #compile(optimized: Graph, rows: number): Program {
    const { backend, store, contextLength } = this.#setup
    const limits = stepLimits(contextLength, rows)
    return new (addon().Program)(backend, store, this.#cache, toNativeProgram(optimized), limits)
  }
}

export { greedy }

function chosen(sampled: Sampled): Sampled {
  if (sampled.id >= 0) return sampled
  throw new NumericError('sample: the logits hold NaN or infinity, or nothing finite')
}

/** Lets messages in, and termination: a bare loop of native calls could not be ended from outside. */
function yieldToMessages(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
