import { attentionLayers } from '#kvasir/engine/attention-layers.js'
import type { Graph, Value } from '#kvasir/graph/graph.js'
import { isBlocked } from '#kvasir/graph/graph.js'
import { Interpreter } from '#kvasir/graph/interpreter.js'
import { toNativeProgram } from '#kvasir/graph/native-program.js'
import type { OptimizeOptions } from '#kvasir/graph/passes/index.js'
import { optimize } from '#kvasir/graph/passes/index.js'
import type { StepInputs } from '../../graph/steps.js'
import type { Weights } from '../../kernels/native-program.js'
import type { WeightType } from '../../kernels/numbers.js'
import { nmse, roundTo } from '../../kernels/numbers.js'
import type { Expectation, StepInput, StoredWeight, VectorCase, VectorSession } from './vector-file.js'

export interface CaseOptions {
  /**
   * What activations and cache are held in; matrices too, unless `storedTypes` says otherwise. What it holds in blocks
   * are numbers that these hold as they are.
   */
  type: WeightType
  storedTypes?: OptimizeOptions['storedTypes']
  /** What matrices are held in whatever they are stored in. */
  dtype?: OptimizeOptions['dtype']
  /** What the cache is held in, where it is not `type`; and what that makes of a parameter's numbers. */
  cacheDtype?: 'q8'
  cached?: (parameter: string, numbers: Float32Array) => Float32Array
}

export interface SessionOptions {
  checked?: boolean
  maxTokens: number
  maxSequences?: number
  numBlocks?: number
  maxEdits?: number
  maxMasks?: number
}

/** A step of the case, by its number, and how many rows it has. */
export interface StepHandle {
  step: number
  tokens: number
}

type Outputs = Record<string, Float64Array>

const formats = {
  f32: { largest: 2 ** 128 - 2 ** 103, halfUnit: 2 ** -24 },
  f16: { largest: 65520, halfUnit: 2 ** -11 },
  bf16: { largest: 2 ** 128 - 2 ** 119, halfUnit: 2 ** -8 },
}

/** The nearest numbers of a type; what is too large becomes infinity, as in the kernels. */
function narrow(type: WeightType, numbers: ArrayLike<number>): Float32Array {
  const { largest } = formats[type]
  return roundTo(
    type,
    Float64Array.from(numbers, (x) => (Math.abs(x) >= largest ? x * Infinity : x)),
  )
}

/** Rows of a group that stay together where gate and up alternate. */
const tileInterleaveRows = 8

function stored(value: Value, weights: Weights): StoredWeight {
  const cols = (value.shape[1] as number | undefined) ?? 1
  const parts = value.parts!.map(({ parameter }) => Array.from(weights(parameter)))
  const filled = value.stacked ? parts.map((part) => filledUp(part, cols)) : parts
  const numbers = Float32Array.from(value.interleaved ? interleave(parts, cols) : filled.flat())
  const { name, dtype, layout = 'rows' } = value
  return { name, dtype, layout, rows: storedRows(value), cols, numbers }
}

/** A matrix of a stack takes whole tiles. */
function stackedRows(rows: number): number {
  return Math.ceil(rows / 64) * 64
}

function filledUp(matrix: number[], cols: number): number[] {
  return [...matrix, ...new Array(stackedRows(matrix.length / cols) * cols - matrix.length).fill(0)]
}

/** Gate and up are each filled up to whole groups. */
function storedRows({ shape, interleaved, stacked }: Value): number {
  const rows = shape[0] as number
  if (stacked) return stacked * stackedRows(rows / stacked)
  return interleaved ? 2 * Math.ceil(rows / 2 / tileInterleaveRows) * tileInterleaveRows : rows
}

function interleave(parts: number[][], cols: number): number[] {
  const size = tileInterleaveRows * cols
  const groups = Math.ceil(parts[0]!.length / size)
  return Array.from({ length: groups }, (_, group) =>
    parts.flatMap((part) => {
      const rows = part.slice(group * size, (group + 1) * size)
      return [...rows, ...new Array(size - rows.length).fill(0)]
    }),
  ).flat()
}

/**
 * Writes a case: a graph and its weights, and steps with what they must give.
 *
 * Numbers are expected as float64 computes them from the same weights and inputs. A result of 16 bits may be off by
 * twice what rounding each result alone costs (its mean square by four times that), which the interpreter measures
 * beside; where rounding costs nothing, bits must agree.
 */
export class CaseBuilder {
  readonly #case: VectorCase
  readonly #type: WeightType
  /** As kernels multiply them. */
  readonly #weights: Weights
  #exact!: Interpreter
  #rounded!: Interpreter
  #steps = 0

  constructor(name: string, recorded: Graph, weights: Weights, options: CaseOptions) {
    const { type, storedTypes, dtype = storedTypes ? 'auto' : type, cacheDtype = type } = options
    const { cached = (_: string, numbers: Float32Array) => numbers } = options
    const graph = toNativeProgram(
      optimize(recorded, {
        matrixLayout: 'tiles',
        activations: type,
        dtype,
        storedTypes,
        floatType: type === 'f32' ? undefined : type,
      }),
    )
    const dtypes = new Map(
      graph.values.flatMap(({ parts = [], dtype }) => parts.map((part) => [part.parameter, dtype])),
    )
    this.#type = type
    const typeOf = (parameter: string) => dtypes.get(parameter)!
    const held = (parameter: string) => {
      const dtype = typeOf(parameter)
      return isBlocked(dtype) ? weights(parameter) : roundTo(dtype as WeightType, weights(parameter))
    }
    this.#weights = (parameter) => {
      const numbers = Float32Array.from(held(parameter))
      return cached(parameter, isBlocked(typeOf(parameter)) ? roundTo(type, numbers) : numbers)
    }
    this.#case = {
      name,
      small: false,
      graph,
      weights: graph.values.filter(({ kind }) => kind === 'weight').map((value) => stored(value, held)),
      layers: attentionLayers(recorded),
      cacheDtype,
      tables: [],
      sessions: [],
    }
  }

  /** What was built. */
  get vectorCase(): VectorCase {
    return this.#case
  }

  get outputs(): string[] {
    return Object.keys(this.#case.graph.outputs)
  }

  /** Steps from here on find an empty cache. */
  session(options: SessionOptions): this {
    const { checked = true, maxTokens, maxSequences = 16, numBlocks = 64 } = options
    const { maxEdits = 0, maxMasks = 0 } = options
    const limits = {
      maxTokens,
      maxRows: maxTokens,
      maxSequences,
      maxBlocks: numBlocks,
      maxEdits,
      maxMasks,
    }
    this.#case.sessions.push({ numBlocks, limits, checked, steps: [] })
    const { graph } = this.#case
    const weights = (parameter: string) => new Float64Array(this.#weights(parameter))
    this.#exact = new Interpreter(graph, { weights })
    this.#rounded = new Interpreter(graph, {
      weights,
      onNode: (node, outputs) => {
        for (const [name, { data }] of Object.entries(outputs)) {
          const { dtype } = graph.values[node.outputs[name]!]!
          if (dtype !== 'i32') data.set(narrow(dtype as WeightType, data))
        }
      },
    })
    return this
  }

  /** A step that is only run. */
  run(inputs: Record<string, StepInput>, ahead = 0): StepHandle {
    this.#session.steps.push({ ahead, inputs, expectations: [] })
    const tokens = inputs.tokens as Int32Array
    return { step: this.#steps++, tokens: tokens.length ?? 0 }
  }

  /** A step with everything it must give. `bounds` are laid on the outputs they name, instead of the usual ones. */
  truth(inputs: StepInputs, bounds: Record<string, { nmse: number; worst: number }> = {}): StepHandle {
    const handle = this.run(inputs)
    const exact = this.#exact.run(inputs)
    const rounded = this.#rounded.run(inputs)
    for (const output of this.outputs) this.#expect(output, exact, rounded, bounds[output])
    return handle
  }

  /** Rows of the last step that have the bits of another step's. */
  equal(first: number, count: number, other: StepHandle, otherFirst: number, outputs = this.outputs): void {
    for (const output of outputs) {
      const place = { step: other.step, stepOutput: output, stepFirst: otherFirst }
      this.#last.expectations.push({ kind: 'equal', output, first, count, ...place })
    }
  }

  /** An output of the last step, all of whose bits are known. */
  exact(output: string, numbers: Float32Array | Int32Array, count: number): void {
    const place = { table: this.#table(numbers), tableFirst: 0 }
    this.#last.expectations.push({ kind: 'exact', output, first: 0, count, ...place })
  }

  get #session(): VectorSession {
    return this.#case.sessions.at(-1)!
  }

  get #last() {
    return this.#session.steps.at(-1)!
  }

  #table(numbers: Float32Array | Int32Array): number {
    return this.#case.tables.push(numbers) - 1
  }

  #expect(
    output: string,
    exact: Outputs,
    rounded: Outputs,
    given: { nmse: number; worst: number } | undefined,
  ): void {
    const { dtype, shape } = this.#case.graph.values[this.#case.graph.outputs[output]!]!
    const rows = exact[output]!.length / ((shape[1] as number | undefined) ?? 1)
    if (dtype === 'i32') {
      this.exact(output, Int32Array.from(exact[output]!), rows)
      return
    }
    const plain = Float32Array.from(rounded[output]!)
    if (given === undefined && dtype !== 'f32' && sameNumbers(plain, exact[output]!)) {
      this.exact(output, plain, rows)
      return
    }
    const bounds = given ?? boundsOf(this.#type, dtype as WeightType, exact[output]!, plain)
    const expected = Float32Array.from(exact[output]!, (x, i) => (Number.isFinite(plain[i]) ? x : plain[i]!))
    const place = { table: this.#table(expected), tableFirst: 0 }
    const expectation: Expectation = { kind: 'near', output, first: 0, count: rows, ...place, ...bounds }
    this.#last.expectations.push(expectation)
  }
}

function sameNumbers(a: ArrayLike<number>, b: ArrayLike<number>): boolean {
  return Array.from(a).every((x, i) => Object.is(x, b[i]))
}

/**
 * What an output's mean square error may be (over its mean square), and its largest error.
 *
 * f32 throughout: 1e-12, as everywhere in the tests. f32 sums of 16-bit products: 1e-10, since matrix units cut sums
 * off where a processor rounds them. Of a few numbers rounding may by chance hit most; one unit is always allowed.
 */
function boundsOf(type: WeightType, dtype: WeightType, exact: Float64Array, plain: Float32Array) {
  const largest = exact.reduce(
    (most, x, i) => (Number.isFinite(plain[i]) ? Math.max(most, Math.abs(x)) : most),
    0,
  )
  const plainWorst = exact.reduce((most, x, i) => {
    return Number.isFinite(plain[i]) ? Math.max(most, Math.abs(x - plain[i]!)) : most
  }, 0)
  const comparable = exact.map((x, i) => (Number.isFinite(plain[i]) ? x : plain[i]!))
  const floor = type === 'f32' ? 1e-12 : 1e-10
  const unit = dtype === 'f32' ? 1e-5 : 2 * formats[dtype].halfUnit
  return {
    nmse: 4 * nmse(plain, comparable) + floor,
    worst: Math.max(2 * plainWorst, unit * largest),
  }
}
