import type { Attribute, Dim, DType, Graph, Node, Value, WeightLayout } from '#kvasir/graph/graph.js'
import type { StepLimits } from '#kvasir/native/addon.js'

// The file that conformance.cpp reads: little-endian, every list with its length before it. vectors.h has the same
// records in the same order.

/** Numbers of an output that a step must give. */
export type Expectation = {
  output: string
  /** Rows of the output that are meant, from this on. */
  first: number
  count: number
} & (
  | { kind: 'near'; table: number; tableFirst: number; nmse: number; worst: number }
  | { kind: 'exact'; table: number; tableFirst: number }
  | { kind: 'equal'; step: number; stepOutput: string; stepFirst: number }
)

/** A step table, or the tokens that a step before this one sampled. */
export type StepInput = Int32Array | Float32Array | { step: number; output: string }

export interface VectorStep {
  /** 0 for one step; else how many to run ahead. */
  ahead: number
  inputs: Record<string, StepInput>
  expectations: Expectation[]
}

/** Steps that share a cache, which begins empty. */
export interface VectorSession {
  numBlocks: number
  limits: Required<StepLimits>
  /** Guards around every result, and no captured graphs. */
  checked: boolean
  steps: VectorStep[]
}

export interface StoredWeight {
  name: string
  dtype: DType
  layout: WeightLayout
  rows: number
  cols: number
  numbers: Float32Array
}

export interface VectorCase {
  name: string
  /** Few blocks and little work, for tools that slow kernels down a hundred times. */
  small: boolean
  /** Optimized. */
  graph: Graph
  weights: StoredWeight[]
  layers: { kvHeads: number; headSize: number }[]
  cacheDtype: DType
  /** Expected numbers, row-major. */
  tables: (Float32Array | Int32Array)[]
  /** Steps are counted through all of them. */
  sessions: VectorSession[]
}

const magic = 'KVASIRV3'
const dtypes: DType[] = ['f32', 'f16', 'bf16', 'i32', 'q8', 'q4']
const layouts: WeightLayout[] = ['rows', 'panels', 'tiles']
const kinds = ['input', 'weight', 'constant', 'result']
const symbols = ['', 'N', 'R', 'R+1', 'S', 'S+1', 'W', 'E', 'M']

class Writer {
  #buffer = new DataView(new ArrayBuffer(1 << 16))
  #end = 0

  get bytes(): Uint8Array {
    return new Uint8Array(this.#buffer.buffer, 0, this.#end)
  }

  #reserve(bytes: number): number {
    const at = this.#end
    this.#end += bytes
    if (this.#end > this.#buffer.byteLength) {
      const grown = new Uint8Array(2 * this.#end)
      grown.set(new Uint8Array(this.#buffer.buffer, 0, at))
      this.#buffer = new DataView(grown.buffer)
    }
    return at
  }

  byte(x: number): void {
    const at = this.#reserve(1)
    this.#buffer.setUint8(at, x)
  }

  integer(x: number): void {
    const at = this.#reserve(8)
    this.#buffer.setBigInt64(at, BigInt(x), true)
  }

  double(x: number): void {
    const at = this.#reserve(8)
    this.#buffer.setFloat64(at, x, true)
  }

  raw(bytes: Uint8Array): void {
    const at = this.#reserve(bytes.length)
    new Uint8Array(this.#buffer.buffer).set(bytes, at)
  }

  text(text: string): void {
    const bytes = new TextEncoder().encode(text)
    this.integer(bytes.length)
    this.raw(bytes)
  }

  list<T>(items: readonly T[], write: (item: T) => void): void {
    this.integer(items.length)
    for (const item of items) write(item)
  }

  map<T>(items: Record<string, T>, write: (item: T) => void): void {
    this.list(Object.entries(items), ([name, item]) => {
      this.text(name)
      write(item)
    })
  }

  /** In 16 bits, where those hold them exactly. */
  numbers(numbers: Float32Array | Int32Array): void {
    const words = new Uint32Array(numbers.buffer, numbers.byteOffset, numbers.length)
    const floats = numbers instanceof Float32Array
    let dtype: DType = floats ? 'f32' : 'i32'
    let stored: Uint32Array | Uint16Array = words
    if (floats && words.every((word) => (word & 0xffff) === 0)) {
      dtype = 'bf16'
      stored = Uint16Array.from(words, (word) => word >>> 16)
    } else if (floats && numbers.every((x) => halfBits(x) >= 0)) {
      dtype = 'f16'
      stored = Uint16Array.from(numbers, halfBits)
    }
    this.byte(dtypes.indexOf(dtype))
    this.integer(numbers.length)
    this.raw(new Uint8Array(stored.buffer, stored.byteOffset, stored.byteLength))
  }
}

/** The bits of the f16 that a finite number is, or -1. */
function halfBits(x: number): number {
  const size = Math.abs(x)
  const exponent = Math.max(Math.floor(Math.log2(size)), -14)
  if (size === 0) return Object.is(x, -0) ? 0x8000 : 0
  const fraction = size * 2 ** (10 - exponent)
  if (exponent > 15 || !Number.isInteger(fraction)) return -1
  // The first bit of a normal number's fraction counts in its exponent.
  return (x < 0 ? 0x8000 : 0) + ((exponent + 14) << 10) + fraction
}

function writeDim(w: Writer, dim: Dim): void {
  w.byte(typeof dim === 'number' ? 0 : symbols.indexOf(dim))
  w.integer(typeof dim === 'number' ? dim : 0)
}

function writeValue(w: Writer, value: Value): void {
  w.byte(kinds.indexOf(value.kind))
  w.text(value.name)
  w.list(value.shape, (dim) => writeDim(w, dim))
  w.byte(dtypes.indexOf(value.dtype))
  w.byte(layouts.indexOf(value.layout ?? 'rows'))
  w.byte(value.interleaved ? 1 : 0)
  w.integer(value.stacked ?? 0)
  w.numbers(value.data ?? new Float32Array())
}

function writeAttribute(w: Writer, attribute: Attribute): void {
  if (typeof attribute === 'number') {
    w.byte(0)
    w.double(attribute)
  } else if (typeof attribute === 'boolean') {
    w.byte(1)
    w.byte(attribute ? 1 : 0)
  } else if (typeof attribute === 'string') {
    w.byte(2)
    w.text(attribute)
  } else {
    w.byte(3)
    w.list(attribute, (x) => w.double(x))
  }
}

function writeNode(w: Writer, node: Node): void {
  w.text(node.op)
  w.text(node.name)
  w.map(node.inputs, (id) => w.integer(id))
  w.map(node.outputs, (id) => w.integer(id))
  w.map(node.attributes, (attribute) => writeAttribute(w, attribute))
}

function writeInput(w: Writer, input: StepInput): void {
  const sampled = 'step' in input
  w.byte(sampled ? 1 : 0)
  if (sampled) {
    w.integer(input.step)
    w.text(input.output)
  } else {
    w.numbers(input)
  }
}

function writeExpectation(w: Writer, expectation: Expectation): void {
  w.text(expectation.output)
  w.integer(expectation.first)
  w.integer(expectation.count)
  if (expectation.kind === 'equal') {
    w.byte(2)
    w.integer(expectation.step)
    w.text(expectation.stepOutput)
    w.integer(expectation.stepFirst)
    return
  }
  w.byte(expectation.kind === 'near' ? 0 : 1)
  w.integer(expectation.table)
  w.integer(expectation.tableFirst)
  if (expectation.kind !== 'near') return
  w.double(expectation.nmse)
  w.double(expectation.worst)
}

function writeSession(w: Writer, { numBlocks, limits, checked, steps }: VectorSession): void {
  w.integer(numBlocks)
  const { maxTokens, maxRows, maxSequences, maxBlocks, maxEdits, maxMasks } = limits
  for (const limit of [maxTokens, maxRows, maxSequences, maxBlocks, maxEdits, maxMasks]) w.integer(limit)
  w.byte(checked ? 1 : 0)
  w.list(steps, ({ ahead, inputs, expectations }) => {
    w.integer(ahead)
    w.map(inputs, (input) => writeInput(w, input))
    w.list(expectations, (expectation) => writeExpectation(w, expectation))
  })
}

function writeCase(w: Writer, one: VectorCase): void {
  w.text(one.name)
  w.byte(one.small ? 1 : 0)
  w.list(one.graph.values, (value) => writeValue(w, value))
  w.list(one.graph.nodes, (node) => writeNode(w, node))
  w.map(one.graph.outputs, (id) => w.integer(id))
  w.list(one.weights, ({ name, dtype, layout, rows, cols, numbers }) => {
    w.text(name)
    w.byte(dtypes.indexOf(dtype))
    w.byte(layouts.indexOf(layout))
    w.integer(rows)
    w.integer(cols)
    w.numbers(numbers)
  })
  w.list(one.layers, ({ kvHeads, headSize }) => {
    w.integer(kvHeads)
    w.integer(headSize)
  })
  w.byte(dtypes.indexOf(one.cacheDtype))
  w.list(one.tables, (table) => w.numbers(table))
  w.list(one.sessions, (session) => writeSession(w, session))
}

/** All cases as one file. */
export function encode(cases: readonly VectorCase[]): Uint8Array {
  const w = new Writer()
  w.raw(new TextEncoder().encode(magic))
  w.list(cases, (one) => writeCase(w, one))
  return w.bytes
}
