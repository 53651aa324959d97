import { KvasirError, ShapeError } from '../errors.js'
import type { Graph, Node, Value, ValueId } from './graph.js'
import { formatShape, isBlocked } from './graph.js'
import type { NumericTensor } from './interpreter/call.js'
import { Call } from './interpreter/call.js'
import type { Sizes } from './interpreter/dims.js'
import { bindInputs, bindShape } from './interpreter/dims.js'
import { KvCache } from './interpreter/kv-cache.js'
import { rules } from './interpreter/rules.js'
import type { WeightSource } from './interpreter/weights.js'
import { assembleWeight } from './interpreter/weights.js'

export interface InterpreterOptions {
  /** Gives the numbers of a parameter, row-major, by its path. Asked for once each. */
  weights: WeightSource
  /** Called after each node with its outputs by name. */
  onNode?: (node: Node, outputs: Record<string, NumericTensor>) => void
}

/** Executes a graph op by op in float64: what native kernels and passes are compared with. */
export class Interpreter {
  readonly graph: Graph
  readonly #options: InterpreterOptions
  readonly #cache = new KvCache()
  readonly #weights = new Map<ValueId, NumericTensor>()

  constructor(graph: Graph, options: InterpreterOptions) {
    this.graph = graph
    this.#options = options
  }

  /**
   * Runs a step and gives the graph's outputs by name. Keys and values stay in the cache for the steps after it.
   * Inputs that the graph does not have are ignored.
   *
   * @throws {TypeError} when an input is missing or of the wrong type
   * @throws {RangeError} when an index is out of its range, or attention reads what was never appended
   * @throws {ShapeError} when inputs, weights or results do not have their shapes
   */
  run(inputs: Readonly<Record<string, Int32Array | Float32Array>>): Record<string, Float64Array> {
    const stepInputs = this.graph.values.filter((value) => value.kind === 'input')
    const { sizes, tensors } = bindInputs(stepInputs, inputs)
    const results = new Map(stepInputs.map((value, i) => [value.id, tensors[i]!]))
    for (const node of this.graph.nodes) this.#execute(node, results, sizes)
    return Object.fromEntries(
      Object.entries(this.graph.outputs).map(([name, id]) => [
        name,
        Float64Array.from(this.#numbersOf(id, results).data),
      ]),
    )
  }

  /** Forgets all keys and values. */
  reset(): void {
    this.#cache.clear()
  }

  #execute(node: Node, results: Map<ValueId, NumericTensor>, sizes: Sizes): void {
    const rule = Object.hasOwn(rules, node.op) ? rules[node.op as keyof typeof rules] : undefined
    if (!rule) {
      const known = Object.keys(rules).join(', ')
      throw new KvasirError(
        'ERR_UNSUPPORTED',
        `graph: op of ${node.name} must be one of ${known}, got ${node.op}`,
      )
    }
    const inputs = Object.fromEntries(
      Object.entries(node.inputs).map(([name, id]) => [name, this.#numbersOf(id, results)]),
    )
    const computed = rule(new Call(node, inputs, this.#cache))
    const outputs: Record<string, NumericTensor> = {}
    for (const [name, id] of Object.entries(node.outputs)) {
      const shape = bindShape(this.graph.values[id]!, sizes)
      const data = computed[name]
      if (data?.length !== shape.reduce((product, dim) => product * dim, 1)) {
        throw new ShapeError(
          `${node.op}: ${name} of ${node.name} must be ${formatShape(shape)}, got ${data?.length ?? 0} elements`,
        )
      }
      outputs[name] = { shape, data }
      results.set(id, outputs[name])
    }
    this.#options.onNode?.(node, outputs)
  }

  #numbersOf(id: ValueId, results: Map<ValueId, NumericTensor>): NumericTensor {
    const known = results.get(id) ?? this.#weights.get(id)
    if (known) return known
    const value = this.graph.values[id]
    const fixed = value && this.#fixed(value)
    if (!fixed) throw new KvasirError('ERR_INTERNAL', `graph: value ${id} is read before it is computed`)
    this.#weights.set(id, fixed)
    return fixed
  }

  #fixed(value: Value): NumericTensor | undefined {
    if (value.kind === 'weight') {
      const roundsToBytes = isBlocked(value.dtype) && value.layout === 'panels'
      return { ...assembleWeight(value, this.#options.weights), roundsToBytes }
    }
    if (value.kind !== 'constant') return undefined
    return { shape: value.shape as readonly number[], data: Float64Array.from(value.data ?? []) }
  }
}
