import { attentionLayers } from '#kvasir/engine/attention-layers.js'
import type { Graph, Value } from '#kvasir/graph/graph.js'
import { Interpreter } from '#kvasir/graph/interpreter.js'
import type { OptimizeOptions } from '#kvasir/graph/passes/index.js'
import { optimize } from '#kvasir/graph/passes/index.js'
import type { Backend, Program, WeightStore } from '#kvasir/native/addon.js'
import { addon } from '#kvasir/native/addon.js'

export type Weights = (parameter: string) => ArrayLike<number>
export type StepInputs = Record<string, Int32Array | Float32Array>

/** Every instruction set that runs here: each test of a kernel runs on all of them. */
export const isas = addon().cpuInfo().isas

export interface NativeOptions extends OptimizeOptions {
  isa?: string
  threads?: number
  cacheDtype?: 'f32' | 'bf16'
  numBlocks?: number
  maxTokens?: number
  /** Guards around every result and NaN in it before a step; on by default. */
  checked?: boolean
}

/** A recorded graph compiled for the CPU, with its weights and its cache. */
export class NativeProgram implements Disposable {
  readonly graph: Graph
  readonly #backend: Backend
  readonly #store: WeightStore
  readonly #program: Program

  constructor(recorded: Graph, weights: Weights, options: NativeOptions = {}) {
    const { isa, threads = 2, cacheDtype = 'f32', numBlocks = 64, maxTokens = 640, checked = true } = options
    this.graph = optimize(recorded, options)
    this.#backend = new (addon().Backend)({ threads, isa })
    this.#store = storeWeights(this.graph, weights)
    const layers = attentionLayers(recorded)
    const cache = layers.length > 0 ? new (addon().KvCache)({ layers, numBlocks, dtype: cacheDtype }) : null
    const limits = { maxTokens, maxRows: maxTokens, maxSequences: 16, maxBlocks: numBlocks }
    this.#program = new (addon().Program)(this.#backend, this.#store, cache, this.graph, limits, checked)
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

  [Symbol.dispose](): void {
    this.#program.dispose()
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
export function storeWeights(graph: Graph, weights: Weights): WeightStore {
  const store = new (addon().WeightStore)()
  for (const { kind, name, dtype, layout = 'rows', shape, parts, interleaved } of graph.values) {
    if (kind !== 'weight') continue
    const cols = (shape[1] as number | undefined) ?? 1
    const numbers = parts!.map((part) => new Float32Array(weights(part.parameter)))
    const stored = interleaved ? interleave(numbers[0], numbers[1], cols) : concatenate(numbers)
    store.declare({ name, dtype, layout, rows: stored.length / cols, cols })
    store.loadValues(name, stored)
  }
  return store
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

/** Panels of 32 rows of gate and up in turn, the last ones filled up with zeros. */
function interleave(gate: Float32Array, up: Float32Array, cols: number): Float32Array {
  const panels = Math.ceil(gate.length / cols / 32)
  const stored = new Float32Array(2 * panels * 32 * cols)
  for (let panel = 0; panel < panels; panel++) {
    for (const [i, matrix] of [gate, up].entries()) {
      stored.set(matrix.subarray(panel * 32 * cols, (panel + 1) * 32 * cols), (2 * panel + i) * 32 * cols)
    }
  }
  return stored
}

/** What is computed in float64 from the same weights; those that are stored in 16 bits are to be rounded before. */
export function truth(recorded: Graph, weights: Weights): Interpreter {
  return new Interpreter(recorded, { weights: (parameter) => new Float64Array(weights(parameter)) })
}
