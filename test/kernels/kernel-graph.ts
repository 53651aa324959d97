import { expect } from 'vitest'
import type { Graph, Shape, ValueId } from '#kvasir/graph/graph.js'
import type { Interpreter } from '#kvasir/graph/interpreter.js'
import { optimize } from '#kvasir/graph/passes/index.js'
import { GraphBuilder } from '../graph/graph-builder.js'
import type { NativeOptions, StepInputs } from './native-program.js'
import { isas, NativeProgram, threadCounts, truth } from './native-program.js'
import { difference } from './numbers.js'

type Outputs = Record<string, 'f32' | 'i32'>

/**
 * Records single kernels. Their activations are rows of tables that a step's `tokens` choose, so that a step can be
 * given any numbers.
 */
export class KernelGraph extends GraphBuilder {
  readonly #parameters = new Map<string, Float32Array>()

  readonly weights = (parameter: string): Float32Array => {
    const numbers = this.#parameters.get(parameter)
    if (!numbers) throw new Error(`no parameter ${parameter}`)
    return numbers
  }

  get graph(): Graph {
    return this.recording.graph
  }

  /** A weight and its numbers, row-major. */
  parameter(name: string, shape: number[], numbers: ArrayLike<number>): ValueId {
    this.#parameters.set(name, Float32Array.from(numbers))
    return this.weight(name, shape)
  }

  /** E matrices (rows, cols) one below the other, and their numbers. */
  stack(name: string, matrices: readonly ArrayLike<number>[], cols: number): ValueId {
    const paths = matrices.map((numbers, e) => {
      this.#parameters.set(`${name}.${e}`, Float32Array.from(numbers))
      return `${name}.${e}`
    })
    return this.recording.stackedWeight(paths, [matrices[0]!.length / cols, cols]).id
  }

  /** The matrix (N,C) whose row n is row tokens[n] of `table`. */
  activations(name: string, cols: number, table: ArrayLike<number>): ValueId {
    const rows = table.length / cols
    return this.embedding(name, this.input('tokens'), this.parameter(name, [rows, cols], table))
  }

  /** A node with several outputs, all of one shape. */
  nodeWith(
    op: string,
    inputs: Record<string, ValueId | undefined>,
    shape: Shape,
    outputTypes: Outputs,
    attributes: Record<string, string | number | boolean> = {},
  ): Record<string, ValueId> {
    const outputs = Object.entries(outputTypes).map(([name, dtype]) => [name, { shape, dtype }])
    const given = Object.entries(inputs).filter((entry): entry is [string, ValueId] => entry[1] !== undefined)
    const made = this.recording.node({
      op,
      name: op,
      inputs: Object.fromEntries(given),
      outputs: Object.fromEntries(outputs),
      attributes,
    })
    return Object.fromEntries(Object.entries(made).map(([name, value]) => [name, value.id]))
  }

  program(options: NativeOptions = {}): NativeProgram {
    return new NativeProgram(this.graph, this.weights, options)
  }

  /** Compiles the graph for each instruction set in turn. */
  *programs(options: NativeOptions = {}): Generator<[program: NativeProgram, isa: string]> {
    for (const isa of isas) {
      using program = this.program({ ...options, isa })
      yield [program, isa]
    }
  }

  /** Of the graph as it was recorded, or of what the passes make of it. */
  interpreter(options?: NativeOptions): Interpreter {
    return truth(options ? optimize(this.graph, options) : this.graph, this.weights)
  }
}

/** A step whose tokens are `first`, `first + 1`... */
export function rowStep(count: number, first = 0): StepInputs {
  return { tokens: Int32Array.from({ length: count }, (_, n) => first + n) }
}

/** Rows `first` and following of a matrix with `cols` columns. */
export function rowsOf<T extends Float32Array | Float64Array>(
  matrix: T,
  cols: number,
  count: number,
  first = 0,
): T {
  return matrix.subarray(first * cols, (first + count) * cols) as T
}

/**
 * Expects that every output's rows have the same bits in steps of any size, at any place in them and on any number of
 * threads. The graph's activations have `total` rows.
 */
export function expectRowsAlone(graph: KernelGraph, total: number, options: NativeOptions = {}): void {
  for (const isa of isas) {
    using alone = graph.program({ ...options, isa, threads: 1, maxTokens: total })
    const whole = alone.run(rowStep(total)) as Record<string, Float32Array>
    for (const threads of threadCounts(1, 2, 3)) {
      using program = graph.program({ ...options, isa, threads, maxTokens: total })
      for (const count of rowCounts.filter((count) => count <= total)) {
        const first = (count * 7) % (total - count + 1)
        for (const [name, rows] of Object.entries(program.run(rowStep(count, first)))) {
          const cols = rows.length / count
          const where = `${isa}, ${threads} threads, ${name} of rows ${first} to ${first + count - 1}`
          expect(difference(rows, rowsOf(whole[name], cols, count, first)), where).toBe('')
        }
      }
    }
  }
}

/** Row counts around the edges of tiles, blocks and chunks of work. */
export const rowCounts = [1, 2, 3, 4, 7, 8, 12, 13, 15, 16, 17, 23, 31, 32, 33, 63, 64, 65, 132, 133, 512]

/** Column counts around the widths of vectors, of their groups of four, and of panels of 32 rows. */
export const columnCounts = [1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 127, 257]
