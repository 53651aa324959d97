import { KernelGraph } from './kernel-graph.js'
import { randomNumbers } from './numbers.js'

export interface NormOptions {
  residual?: Float32Array
  weight?: boolean
  bias?: boolean
  epsilon?: number
}

/**
 * A norm of the rows of `x`, and where there is a residual the sum before it.
 *
 * `y` is the norm's, `sum` the sum's.
 */
export function normGraph(op: string, x: Float32Array, C: number, options: NormOptions = {}): KernelGraph {
  const { residual, weight = true, bias = op === 'layer-norm', epsilon = 1e-5 } = options
  const graph = new KernelGraph()
  const inputs = {
    x: graph.activations('x', C, x),
    residual: residual && graph.activations('residual', C, residual),
    weight: weight ? graph.parameter('weight', [C], randomNumbers(11, C, 2)) : undefined,
    bias: bias ? graph.parameter('bias', [C], randomNumbers(12, C)) : undefined,
  }
  const outputs = residual ? { y: 'f32', sum: 'f32' } : { y: 'f32' }
  graph.finish(graph.nodeWith(op, inputs, ['N', C], outputs as Record<string, 'f32'>, { epsilon }))
  return graph
}

/** Rows of equal length one after another. */
export function stack(...rows: ArrayLike<number>[]): Float32Array {
  return Float32Array.from(rows.flatMap((row) => Array.from(row)))
}
