import type { DType, Graph, Shape } from '#kvasir/graph/graph.js'
import { Recording } from '#kvasir/graph/recording.js'
import { Parameter, Tensor } from '#kvasir/ops/tensor.js'

/** A recording whose parameters are named by number, and tensors of any shape in it. */
export class Symbols {
  readonly #paths = new Map<object, string>()
  readonly recording = new Recording(this.#paths)

  get graph(): Graph {
    return this.recording.graph
  }

  tensor(shape: Shape, dtype: DType = 'f32'): Tensor {
    const { y } = this.recording.node({ op: 'given', inputs: {}, outputs: { y: { shape, dtype } } })
    return new Tensor(this.recording, y!)
  }

  parameter(...shape: number[]): Parameter {
    const parameter = new Parameter(shape)
    this.#paths.set(parameter, `p${this.#paths.size}`)
    return parameter
  }

  /** The tables that attention takes. */
  get tables() {
    const input = (name: 'queryStarts' | 'contextLengths' | 'blockTables') =>
      Tensor.input(this.recording, name)
    return {
      queryStarts: input('queryStarts'),
      contextLengths: input('contextLengths'),
      blockTables: input('blockTables'),
    }
  }
}

/** The matrices of so many experts of width 8, hidden 5. */
export function matrices(s: Symbols, count: number) {
  const each = (...shape: number[]) => Array.from({ length: count }, () => s.parameter(...shape))
  return { gate: each(5, 8), up: each(5, 8), down: each(8, 5) }
}
