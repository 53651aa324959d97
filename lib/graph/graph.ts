import { invalidValue } from '../errors.js'

/**
 * The recorded program of a model: plain data, so that it can be posted to another thread.
 *
 * A step processes `N` tokens of `S` sequences, concatenated without padding. `R` rows have their logits computed,
 * and block tables are `W` blocks wide. `E` edits and `M` masks change what tokens are chosen from; both may be 0.
 * These are the only free dimensions.
 */

/** A number, or a dimension that is known only at each step. */
export type Dim = number | 'N' | 'R' | 'R+1' | 'S' | 'S+1' | 'W' | 'E' | 'M'

export type Shape = readonly Dim[]

/** `q8` and `q4`, of weights alone: 8 and 4 bits a number, in blocks of 32 along a row that share a scale in f16 (and, in
 * `q4`, a minimum). */
export type DType = FloatType | BlockedType | 'i32'
export type FloatType = 'f32' | 'f16' | 'bf16'
export type BlockedType = 'q8' | 'q4'

export function isBlocked(dtype: DType): dtype is BlockedType {
  return dtype === 'q8' || dtype === 'q4'
}

/** Row-major, or as the kernels of linear layers want their matrices: in panels on the CPU, in tiles on CUDA. */
export type WeightLayout = 'rows' | 'panels' | 'tiles'

export type ValueId = number

export type ValueKind = 'input' | 'weight' | 'constant' | 'result'

/** Rows of a weight that come from one parameter of the model. */
export interface WeightPart {
  /** The parameter's module path, e.g. `h.0.attn.c_attn.weight`. */
  parameter: string
  rows: number
}

export interface Value {
  id: ValueId
  kind: ValueKind
  /** Module path for weights and results, the step table's name for inputs. */
  name: string
  shape: Shape
  dtype: DType
  /**
   * For a weight: the parameters stacked into it, row after row. One after recording; merged projections have several.
   * A vector counts as a row per element.
   */
  parts?: WeightPart[]
  /** For a weight: how it lies in memory, chosen by the `layout` pass. */
  layout?: WeightLayout
  /** For a weight with two parts of equal rows: groups of their rows alternate, as a gated `linear` wants them. */
  interleaved?: boolean
  /** For a weight of equal parts: each is a matrix of its own, filled up to whole panels and tiles, as `experts` wants them. */
  stacked?: number
  /** For a constant: its elements, row-major. */
  data?: Float32Array
}

export type Attribute = number | string | boolean | readonly number[]

export interface Node {
  op: string
  /** Module path of what recorded it. */
  name: string
  inputs: Record<string, ValueId>
  outputs: Record<string, ValueId>
  attributes: Record<string, Attribute>
}

export interface Graph {
  /** `values[i].id === i`. */
  values: Value[]
  /** In an order in which every input is there before it is used. */
  nodes: Node[]
  /** What a step gives back, by name. */
  outputs: Record<string, ValueId>
  /** Of a recorded graph: what each module's `forward` returned, by the module's path. Passes do not keep it. */
  results?: Record<string, ValueId>
}

/** A dimension of a step's table; `V/32`: a bit for each token of the vocabulary, 32 in a number. */
type TableDim = Dim | 'V/32'

/** The tables of a step, in the order a listing shows them. */
export const stepInputs = {
  tokens: { shape: ['N'], dtype: 'i32' },
  positions: { shape: ['N'], dtype: 'i32' },
  queryStarts: { shape: ['S+1'], dtype: 'i32' },
  contextLengths: { shape: ['S'], dtype: 'i32' },
  blockTables: { shape: ['S', 'W'], dtype: 'i32' },
  outputRows: { shape: ['R'], dtype: 'i32' },
  temperature: { shape: ['R'], dtype: 'f32' },
  topK: { shape: ['R'], dtype: 'i32' },
  topP: { shape: ['R'], dtype: 'f32' },
  minP: { shape: ['R'], dtype: 'f32' },
  seed: { shape: ['R', 2], dtype: 'i32' },
  counter: { shape: ['R'], dtype: 'i32' },
  typicalP: { shape: ['R'], dtype: 'f32' },
  forced: { shape: ['R'], dtype: 'i32' },
  editStarts: { shape: ['R+1'], dtype: 'i32' },
  editIds: { shape: ['E'], dtype: 'i32' },
  editFactors: { shape: ['E'], dtype: 'f32' },
  editOffsets: { shape: ['E'], dtype: 'f32' },
  maskRows: { shape: ['R'], dtype: 'i32' },
  masks: { shape: ['M', 'V/32'], dtype: 'i32' },
  topCounts: { shape: ['R'], dtype: 'i32' },
} as const satisfies Record<string, { shape: readonly TableDim[]; dtype: DType }>

export type StepInputName = keyof typeof stepInputs

/**
 * The shape of one of the step's tables; that of `masks` depends on the vocabulary.
 *
 * @throws {RangeError} when the shape depends on a `vocabSize` that is not given
 */
export function tableShape(name: StepInputName, vocabSize?: number): Shape {
  return stepInputs[name].shape.map((dim) => {
    if (dim !== 'V/32') return dim
    if (vocabSize === undefined) throw invalidValue(`graph: vocabSize of ${name}`, 'given', vocabSize)
    return Math.ceil(vocabSize / 32)
  })
}

/** Tokens that one block of the paged KV cache holds; the native side has the same constant and checks it. */
export const blockTokens = 32

/** `(N, 768)` */
export function formatShape(shape: Shape): string {
  return `(${shape.join(', ')})`
}

export function sameShape(a: Shape, b: Shape): boolean {
  return a.length === b.length && a.every((dim, i) => dim === b[i])
}
