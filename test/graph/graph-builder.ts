import type { Attribute, Graph, Shape, StepInputName, ValueId } from '#kvasir/graph/graph.js'
import { Recording } from '#kvasir/graph/recording.js'
import { Random } from './random.js'

export interface LinearOptions {
  bias?: boolean
  /** Another linear's path, whose parameters are shared. */
  tiedTo?: string
}

export interface AttentionOptions {
  heads: number
  kvHeads: number
  headSize: number
  scale?: number
  softcap?: number
  window?: number
  slopes?: readonly number[]
}

/** Records graphs node by node, values being ids. The shapes of results follow from the inputs. */
export class GraphBuilder {
  readonly recording = new Recording()

  input(name: StepInputName, vocabSize?: number): ValueId {
    return this.recording.input(name, vocabSize).id
  }

  weight(path: string, shape: number[]): ValueId {
    return this.recording.weight(path, shape).id
  }

  constant(name: string, numbers: readonly number[], shape = [numbers.length]): ValueId {
    return this.recording.constant(name, Float32Array.from(numbers), shape).id
  }

  shape(id: ValueId): Shape {
    return this.recording.graph.values[id].shape
  }

  columns(id: ValueId): number {
    return this.shape(id)[1] as number
  }

  node(
    op: string,
    name: string,
    inputs: Record<string, ValueId | undefined>,
    shape: Shape,
    attributes: Record<string, Attribute> = {},
  ): ValueId {
    const given = Object.entries(inputs).filter((entry): entry is [string, ValueId] => entry[1] !== undefined)
    const outputs = { y: { shape, dtype: 'f32' as const } }
    return this.recording.node({ op, name, inputs: Object.fromEntries(given), outputs, attributes }).y.id
  }

  embedding(path: string, ids: ValueId, weight: ValueId): ValueId {
    return this.node('embedding', path, { ids, weight }, [this.shape(ids)[0], this.columns(weight)])
  }

  linear(
    path: string,
    x: ValueId,
    size: number,
    { bias = false, tiedTo = path }: LinearOptions = {},
  ): ValueId {
    const weight = this.weight(`${tiedTo}.weight`, [size, this.columns(x)])
    const inputs = { x, weight, bias: bias ? this.weight(`${tiedTo}.bias`, [size]) : undefined }
    const attributes = { activation: 'none', gated: false }
    return this.node('linear', path, inputs, [this.shape(x)[0], size], attributes)
  }

  layerNorm(path: string, x: ValueId): ValueId {
    const size = [this.columns(x)]
    const inputs = { x, weight: this.weight(`${path}.weight`, size), bias: this.weight(`${path}.bias`, size) }
    return this.node('layer-norm', path, inputs, this.shape(x), { epsilon: 1e-5 })
  }

  rmsNorm(path: string, x: ValueId): ValueId {
    const weight = this.weight(`${path}.weight`, [this.columns(x)])
    return this.node('rms-norm', path, { x, weight }, this.shape(x), { epsilon: 1e-6 })
  }

  add(path: string, a: ValueId, b: ValueId): ValueId {
    return this.node('add', path, { a, b }, this.shape(a))
  }

  scale(path: string, x: ValueId, factor: number): ValueId {
    return this.node('scale', path, { x }, this.shape(x), { factor })
  }

  softcap(path: string, x: ValueId, cap: number): ValueId {
    return this.node('softcap', path, { x }, this.shape(x), { cap })
  }

  softmax(path: string, x: ValueId): ValueId {
    return this.node('softmax', path, { x }, this.shape(x))
  }

  slice(path: string, x: ValueId, start: number, size: number): ValueId {
    return this.node('slice', path, { x }, [this.shape(x)[0], size], { start, size })
  }

  activation(path: string, x: ValueId, kind: string, up?: ValueId): ValueId {
    return this.node('activation', path, { x, up }, this.shape(x), { kind })
  }

  /** A mixture of so many experts, `hidden` wide, two of which a row goes through. */
  experts(path: string, x: ValueId, count: number, hidden: number): ValueId {
    const C = this.columns(x)
    const stack = (name: string, shape: number[]) => {
      const paths = Array.from({ length: count }, (_, e) => `${path}.${e}.${name}.weight`)
      return this.recording.stackedWeight(paths, shape).id
    }
    const inputs = {
      x,
      logits: this.linear(`${path}.router`, x, count),
      gate: stack('gate', [hidden, C]),
      up: stack('up', [hidden, C]),
      down: stack('down', [C, hidden]),
    }
    const attributes = { chosen: 2, normalised: true, activation: 'silu' }
    return this.node('experts', path, inputs, this.shape(x), attributes)
  }

  gatherRows(path: string, x: ValueId): ValueId {
    return this.node('gather-rows', path, { x, rows: this.input('outputRows') }, ['R', this.columns(x)])
  }

  ropeTable(path: string, frequencies: readonly number[], magnitude = 1): ValueId {
    const inputs = { positions: this.input('positions') }
    return this.node('rope-table', path, inputs, ['N', 2 * frequencies.length], { frequencies, magnitude })
  }

  rope(path: string, x: ValueId, table: ValueId, heads: number, interleaved = false): ValueId {
    const headSize = this.columns(x) / heads
    return this.node('rope', path, { x, table }, this.shape(x), { heads, headSize, interleaved })
  }

  attention(path: string, q: ValueId, k: ValueId, v: ValueId, options: AttentionOptions): ValueId {
    const { slopes, scale = options.headSize ** -0.5, softcap = 0, window = 0, ...heads } = options
    const inputs = {
      q,
      k,
      v,
      slopes: slopes && this.constant(`${path}.slopes`, slopes),
      queryStarts: this.input('queryStarts'),
      contextLengths: this.input('contextLengths'),
      blockTables: this.input('blockTables'),
    }
    const layer = this.recording.nextAttentionLayer()
    return this.node('attention', path, inputs, this.shape(q), { layer, scale, softcap, window, ...heads })
  }

  finish(outputs: Record<string, ValueId>): Graph {
    Object.assign(this.recording.graph.outputs, outputs)
    return this.recording.graph
  }
}

/** Random numbers for every parameter of a recorded graph, the same for the same seed. */
export function randomWeights(graph: Graph, seed: number): (parameter: string) => Float64Array {
  const random = new Random(seed)
  const parameters = new Map<string, Float64Array>()
  for (const { kind, shape, name, parts, stacked } of graph.values) {
    if (kind !== 'weight') continue
    const size = shape.reduce<number>((product, dim) => product * Number(dim), 1)
    const numbers = random.numbers(size, shape.length === 2 ? Math.sqrt(3 / Number(shape[1])) : 1)
    parameters.set(name, numbers)
    if (stacked === undefined) continue
    for (const [i, { parameter }] of parts!.entries())
      parameters.set(parameter, numbers.subarray((i * size) / stacked, ((i + 1) * size) / stacked))
  }
  return (parameter) => {
    const numbers = parameters.get(parameter)
    if (!numbers) throw new Error(`no parameter ${parameter}`)
    return numbers
  }
}
