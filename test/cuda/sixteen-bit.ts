import { Interpreter } from '#kvasir/graph/interpreter.js'
import { optimize } from '#kvasir/graph/passes/index.js'
import type { StepInputs } from '../graph/steps.js'
import type { KernelGraph } from '../kernels/kernel-graph.js'
import type { NativeOptions, NativeProgram } from '../kernels/native-program.js'
import { isas } from '../kernels/native-program.js'
import type { BlockType } from '../kernels/numbers.js'
import { nmse, roundTo } from '../kernels/numbers.js'

export const types = ['bf16', 'f16'] as const
export type HalfType = (typeof types)[number]

/** Options by which a program holds matrices, activations and cache in one 16-bit type, and `blocks` in their own. */
export function halfOptions(
  type: HalfType,
  blocks: ReadonlyMap<string, BlockType> = new Map(),
): NativeOptions {
  return {
    dtype: 'auto',
    floatType: type,
    storedTypes: (parameter) => blocks.get(parameter) ?? 'f32',
    activations: type,
    cacheDtype: type,
    matrixLayout: 'tiles',
  }
}

/**
 * What a 16-bit program is compared with: float64 throughout, and float64 with every result rounded to the type.
 * Numbers of blocks are rounded to it as well.
 */
export class HalfReference {
  readonly #exact: Interpreter
  readonly #plain: Interpreter

  constructor({ graph, weights }: KernelGraph, type: HalfType, blocks?: ReadonlyMap<string, BlockType>) {
    const optimized = optimize(graph, halfOptions(type, blocks))
    const dtypes = new Map(
      optimized.values.flatMap(({ parts = [], dtype }) => parts.map((part) => [part.parameter, dtype])),
    )
    const rounded = (parameter: string) => {
      const numbers = weights(parameter)
      return Float64Array.from(dtypes.get(parameter) === 'f32' ? numbers : roundTo(type, numbers))
    }
    this.#exact = new Interpreter(optimized, { weights: rounded })
    this.#plain = new Interpreter(optimized, {
      weights: rounded,
      onNode: (node, outputs) => {
        for (const [name, { data }] of Object.entries(outputs)) {
          const { dtype } = optimized.values[node.outputs[name]!]!
          if (dtype === type) (data as Float64Array).set(roundTo(type, data))
        }
      },
    })
  }

  /** Outputs of a step by name: float64, and the error that rounding every result causes (NMSE). */
  run(step: StepInputs): Record<string, { exact: Float64Array; rounding: number }> {
    const exact = this.#exact.run(step)
    const plain = this.#plain.run(step)
    return Object.fromEntries(
      Object.entries(exact).map(([name, numbers]) => [
        name,
        { exact: numbers, rounding: nmse(plain[name]!, numbers) },
      ]),
    )
  }
}

/** Compiles the graph in 16 bits for every architecture. */
export function* halfPrograms(
  graph: KernelGraph,
  type: HalfType,
  options: NativeOptions = {},
  blocks?: ReadonlyMap<string, BlockType>,
): Generator<[program: NativeProgram, isa: string]> {
  for (const isa of isas) {
    using program = graph.program({ ...halfOptions(type, blocks), ...options, isa })
    yield [program, isa]
  }
}
