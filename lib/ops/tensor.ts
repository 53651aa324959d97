import { invalidType, invalidValue, KvasirError } from '../errors.js'
import type { Attribute, DType, Shape, StepInputName, Value } from '../graph/graph.js'
import type { NodeRequest, Recording } from '../graph/recording.js'
import { add } from './add.js'

/**
 * A learned array of a model. It has a shape and no numbers; its key in a checkpoint is the path of fields that lead
 * to it from the model.
 */
export class Parameter {
  readonly shape: readonly number[]
  /** As `forward` sees it. How a weight is held is chosen when it is loaded. */
  readonly dtype = 'f32'

  /** @throws {TypeError | RangeError} when a dimension is not an integer from 1, or the elements cannot be counted */
  constructor(shape: readonly number[]) {
    if (!Array.isArray(shape)) throw invalidType('parameter: shape', 'an array of dimensions', shape)
    const elements = shape.reduce((product: number, dim) => (dim >= 1 ? product * dim : Number.NaN), 1)
    if (!shape.every(Number.isInteger) || !Number.isSafeInteger(elements))
      throw invalidValue('parameter: shape', 'positive integers with a product below 2^53', shape.join(' x '))
    this.shape = [...shape]
  }
}

/** What an op takes as a weight: a parameter, or a constant of the recording. */
export type Weight = Parameter | Tensor

/** A value of a recording: what `forward` computes with. It has a shape and a dtype and no numbers. */
export class Tensor {
  readonly recording: Recording
  readonly value: Value

  constructor(recording: Recording, value: Value) {
    this.recording = recording
    this.value = value
  }

  /** One of the step's tables; `vocabSize` is wanted for those whose shape depends on it. */
  static input(recording: Recording, name: StepInputName, vocabSize?: number): Tensor {
    return new Tensor(recording, recording.input(name, vocabSize))
  }

  get shape(): Shape {
    return this.value.shape
  }

  get dtype(): DType {
    return this.value.dtype
  }

  /** The sum of two tensors of one shape. */
  add(other: Tensor): Tensor {
    return add(this, other)
  }

  /** Matrices of one shape as a weight, one below the other. For ops. */
  stack(matrices: readonly Parameter[]): Tensor {
    const paths = matrices.map((matrix, i) => this.#pathOf(`stack: matrix ${i}`, matrix))
    return new Tensor(this.recording, this.recording.stackedWeight(paths, matrices[0]!.shape))
  }

  /** Adds a node to this tensor's recording and returns its outputs. For ops. */
  record<K extends string>(
    request: Omit<NodeRequest, 'inputs' | 'outputs'> & {
      inputs: Record<string, Weight | null | undefined>
      outputs: Record<K, { shape: Shape; dtype: DType }>
      attributes?: Record<string, Attribute>
    },
  ): Record<K, Tensor> {
    const inputs: Record<string, number> = {}
    for (const [key, input] of Object.entries(request.inputs)) {
      if (input != null) inputs[key] = this.#inputValue(`${request.op}: ${key}`, input).id
    }
    const outputs = this.recording.node({ ...request, inputs })
    return Object.fromEntries(
      Object.entries(outputs).map(([key, value]) => [key, new Tensor(this.recording, value)]),
    ) as Record<K, Tensor>
  }

  #inputValue(where: string, input: Weight): Value {
    if (input instanceof Tensor) {
      if (input.recording === this.recording) return input.value
      throw new KvasirError('ERR_INVALID_ARG_VALUE', `${where} must be of this recording, got one of another`)
    }
    return this.recording.weight(this.#pathOf(where, input), input.shape)
  }

  #pathOf(where: string, parameter: Parameter): string {
    const path = this.recording.pathOf(parameter)
    if (path !== undefined) return path
    throw new KvasirError(
      'ERR_INVALID_ARG_VALUE',
      `${where} must be a parameter that the model's fields lead to, got one made elsewhere`,
    )
  }
}
