import { attentionLayers } from '#kvasir/engine/attention-layers.js'
import type { Graph, Value } from '#kvasir/graph/graph.js'
import { Interpreter } from '#kvasir/graph/interpreter.js'
import type { OptimizeOptions } from '#kvasir/graph/passes/index.js'
import { optimize } from '#kvasir/graph/passes/index.js'
import type { Backend, BackendOptions, KvCache, Program, WeightStore } from '#kvasir/native/addon.js'
import { addon } from '#kvasir/native/addon.js'
import { emulatedModule, testDevice } from '../devices.js'

export type Weights = (parameter: string) => ArrayLike<number>
export type StepInputs = Record<string, Int32Array | Float32Array>

/**
 * What each test of a kernel runs on: every instruction set that this processor has, or every GPU architecture that is
 * emulated, where the emulated device is under test.
 */
export const isas: string[] = testDevice === 'cpu' ? addon().cpuInfo().isas : ['sm_80', 'sm_90']
export const onCuda = testDevice !== 'cpu'

/** Numbers of threads to compare; a GPU has no such thing. */
export function threadCounts(...counts: number[]): number[] {
  return onCuda ? [1] : counts
}

/** Whether a device of `isa` keeps keys and values in another type than f32, which it computes in here. */
export type CacheType = 'f32' | 'bf16' | 'f16' | 'q8'
export const caches: CacheType[] = onCuda ? ['f32', 'q8'] : ['f32', 'bf16', 'f16', 'q8']

function backendOptions(isa: string | undefined, threads: number): BackendOptions {
  if (!onCuda) return { device: 'cpu', threads, isa }
  return { device: 'cuda', threads, module: emulatedModule(), index: isa === 'sm_90' ? 1 : 0 }
}

export interface NativeOptions extends OptimizeOptions {
  isa?: string
  threads?: number
  cacheDtype?: CacheType
  numBlocks?: number
  maxTokens?: number
  maxEdits?: number
  maxMasks?: number
  /** Guards around every result and NaN in it before a step; on by default. */
  checked?: boolean
}

/** A recorded graph compiled for the CPU, with its weights and its cache. */
export class NativeProgram implements Disposable {
  readonly graph: Graph
  readonly #backend: Backend
  readonly #store: WeightStore
  readonly #cache: KvCache | null
  readonly #program: Program

  constructor(recorded: Graph, weights: Weights, options: NativeOptions = {}) {
    const { isa, threads = 2, numBlocks = 64, maxTokens = 640, checked = true } = options
    const { cacheDtype = options.activations ?? 'f32' } = options
    this.graph = optimize(recorded, onCuda ? { ...options, matrixLayout: 'tiles' } : options)
    this.#backend = new (addon().Backend)(backendOptions(isa, threads))
    this.#store = storeWeights(this.graph, weights, this.#backend)
    const layers = attentionLayers(recorded)
    this.#cache =
      layers.length > 0
        ? new (addon().KvCache)(this.#backend, { layers, numBlocks, dtype: cacheDtype })
        : null
    const { maxEdits = 0, maxMasks = 0 } = options
    const limits = {
      maxTokens,
      maxRows: maxTokens,
      maxSequences: 16,
      maxBlocks: numBlocks,
      maxEdits,
      maxMasks,
    }
    this.#program = new (addon().Program)(
      this.#backend,
      this.#store,
      this.#cache,
      this.graph,
      limits,
      checked,
    )
  }

  run(inputs: StepInputs, abort: Int32Array | null = null): Record<string, Float32Array | Int32Array> {
    const outputs = Object.fromEntries(
      Object.entries(this.graph.outputs).map(([name, id]) => [
        name,
        this.#emptyOutput(this.graph.values[id], inputs),
      ]),
    )
    if (!this.#program.run(inputs, outputs, abort)) throw new Error('aborted')
    return outputs
  }

  /** Copies blocks of the cache, (from, to) pairs. */
  copyBlocks(...pairs: number[]): void {
    this.#cache!.copyBlocks(Int32Array.from(pairs))
  }

  /** Runs up to `count` steps ahead. */
  runAhead(
    inputs: StepInputs,
    count: number,
    abort: Int32Array | null = null,
  ): { done: number; ids: Int32Array; logprobs: Float32Array } {
    const size = count * inputs.tokens.length
    const outputs = { ids: new Int32Array(size), logprobs: new Float32Array(size) }
    return { done: this.#program.runAhead(inputs, count, outputs, abort), ...outputs }
  }

  [Symbol.dispose](): void {
    this.#program.dispose()
    this.#cache?.dispose() // or the device's memory would wait for the garbage collector
    this.#store.dispose()
    this.#backend.dispose()
  }

  #emptyOutput(value: Value, inputs: StepInputs): Float32Array | Int32Array {
    const rows = value.shape[0] === 'R' ? inputs.outputRows.length : inputs.tokens.length
    const count = rows * ((value.shape[1] as number | undefined) ?? 1)
    return value.dtype === 'i32' ? new Int32Array(count) : new Float32Array(count)
  }
}

/** A store with the weights of an optimized graph. */
export function storeWeights(graph: Graph, weights: Weights, backend?: Backend): WeightStore {
  const store = new (addon().WeightStore)(backend)
  for (const { kind, name, dtype, layout = 'rows', shape, parts, interleaved, stacked } of graph.values) {
    if (kind !== 'weight') continue
    const cols = (shape[1] as number | undefined) ?? 1
    const numbers = parts!.map((part) => new Float32Array(weights(part.parameter)))
    const stored = stacked
      ? concatenate(numbers.map((matrix) => filledUp(matrix, cols)))
      : interleaved
        ? interleave(numbers[0], numbers[1], cols, layout === 'tiles' ? 8 : 32)
        : concatenate(numbers)
    store.declare({ name, dtype, layout, rows: stored.length / cols, cols })
    store.loadValues(name, stored)
  }
  return store
}

/** A matrix as it lies in a stack: whole tiles of 64 rows. */
function filledUp(matrix: Float32Array, cols: number): Float32Array {
  const filled = new Float32Array(Math.ceil(matrix.length / cols / 64) * 64 * cols)
  filled.set(matrix)
  return filled
}

function concatenate(parts: Float32Array[]): Float32Array {
  if (parts.length === 1) return parts[0]
  const whole = new Float32Array(parts.reduce((total, part) => total + part.length, 0))
  let offset = 0
  for (const part of parts) {
    whole.set(part, offset)
    offset += part.length
  }
  return whole
}

/** Groups of rows of gate and up in turn, the last ones filled up with zeros. */
function interleave(gate: Float32Array, up: Float32Array, cols: number, rows: number): Float32Array {
  const size = rows * cols
  const groups = Math.ceil(gate.length / size)
  const stored = new Float32Array(2 * groups * size)
  for (let group = 0; group < groups; group++) {
    for (const [i, matrix] of [gate, up].entries()) {
      stored.set(matrix.subarray(group * size, (group + 1) * size), (2 * group + i) * size)
    }
  }
  return stored
}

/** What is computed in float64 from the same weights; those that are stored in 16 bits are to be rounded before. */
export function truth(recorded: Graph, weights: Weights): Interpreter {
  return new Interpreter(recorded, { weights: (parameter) => new Float64Array(weights(parameter)) })
}
