import type { Attribute, DType, Graph, Node, Shape, StepInputName, Value, ValueId } from './graph.js'
import { stepInputs, tableShape } from './graph.js'

/** What an op asks a recording to add. */
export interface NodeRequest {
  op: string
  /** Overrides the name that the current module gives. */
  name?: string
  inputs: Record<string, ValueId>
  outputs: Record<string, { shape: Shape; dtype: DType }>
  attributes?: Record<string, Attribute>
}

/** A graph while a model's `forward` runs on symbolic tensors. There is no global one: tensors carry theirs. */
export class Recording {
  readonly graph: Graph = { values: [], nodes: [], outputs: {} }
  readonly #paths: ReadonlyMap<object, string>
  #inputs = new Map<string, Value>()
  #weights = new Map<string, Value>()
  #shared = new Map<string, unknown>()
  #scope: string[] = []
  #attentionLayers = 0

  /** @param paths the parameters of the model that is recorded, each with its module path */
  constructor(paths: ReadonlyMap<object, string> = new Map()) {
    this.#paths = paths
  }

  /** The module path that nodes recorded now belong to; '' for the model itself. */
  get scope(): string {
    return this.#scope.at(-1) ?? ''
  }

  /** Runs `body` with nodes named after `path`. */
  within<T>(path: string, body: () => T): T {
    this.#scope.push(path)
    try {
      return body()
    } finally {
      this.#scope.pop()
    }
  }

  /** A module's `forward` returned a value. Of a module that is called several times the last one counts. */
  noteResult(path: string, value: ValueId): void {
    this.graph.results ??= {}
    this.graph.results[path] = value
  }

  /** The module path of a parameter; undefined where the model's fields do not lead to it. */
  pathOf(parameter: object): string | undefined {
    return this.#paths.get(parameter)
  }

  /** One of the step's tables; `vocabSize` is wanted for those whose shape depends on it. */
  input(name: StepInputName, vocabSize?: number): Value {
    const known = this.#inputs.get(name)
    if (known) return known
    const shape = tableShape(name, vocabSize)
    const value = this.#value({ kind: 'input', name, shape, dtype: stepInputs[name].dtype })
    this.#inputs.set(name, value)
    return value
  }

  /** A parameter of the model; the same value each time it is used, so tying needs nothing more. */
  weight(path: string, shape: readonly number[]): Value {
    const known = this.#weights.get(path)
    if (known) return known
    const value = this.#value({
      kind: 'weight',
      name: path,
      shape,
      dtype: 'f32',
      parts: [{ parameter: path, rows: shape[0] ?? 1 }],
    })
    this.#weights.set(path, value)
    return value
  }

  /** Parameters of one shape, one below the other: a weight of as many matrices, each filled up where it is laid out. */
  stackedWeight(paths: readonly string[], [rows = 1, ...rest]: readonly number[]): Value {
    const name = stackName(paths)
    const known = this.#weights.get(name)
    if (known) return known
    const value = this.#value({
      kind: 'weight',
      name,
      shape: [paths.length * rows, ...rest],
      dtype: 'f32',
      parts: paths.map((parameter) => ({ parameter, rows })),
      stacked: paths.length,
    })
    this.#weights.set(name, value)
    return value
  }

  constant(name: string, data: Float32Array, shape: readonly number[]): Value {
    return this.#value({ kind: 'constant', name, shape, dtype: 'f32', data })
  }

  /** What `make` gives the first time it is asked for under `key`: things that all layers share are recorded once. */
  once<T>(key: string, make: () => T): T {
    if (!this.#shared.has(key)) this.#shared.set(key, make())
    return this.#shared.get(key) as T
  }

  /** The index of the KV cache's layer that the next attention owns. */
  nextAttentionLayer(): number {
    return this.#attentionLayers++
  }

  /** Adds a node; its outputs are new values named after it. */
  node(request: NodeRequest): Record<string, Value> {
    const name = request.name ?? this.scope
    const outputs: Record<string, Value> = {}
    for (const [key, { shape, dtype }] of Object.entries(request.outputs)) {
      outputs[key] = this.#value({ kind: 'result', name, shape, dtype })
    }
    const node: Node = {
      op: request.op,
      name,
      inputs: request.inputs,
      outputs: Object.fromEntries(Object.entries(outputs).map(([key, value]) => [key, value.id])),
      attributes: request.attributes ?? {},
    }
    this.graph.nodes.push(node)
    return outputs
  }

  #value(value: Omit<Value, 'id'>): Value {
    const added = { id: this.graph.values.length, ...value }
    this.graph.values.push(added)
    return added
  }
}

/** `mlp.experts.0.up_proj.weight` to `mlp.experts.7.up_proj.weight` -> `mlp.experts.0-7.up_proj.weight` */
function stackName(paths: readonly string[]): string {
  const [first, last] = [paths[0]!.split('.'), paths.at(-1)!.split('.')]
  return first.map((part, i) => (part === last[i] ? part : `${part}-${last[i]}`)).join('.')
}
