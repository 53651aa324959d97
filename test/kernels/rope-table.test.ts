import { describe, expect, it } from 'vitest'
import { Random } from '../graph/random.js'
import { KernelGraph, rowCounts } from './kernel-graph.js'
import { difference, worstError } from './numbers.js'

const magnitude = 1.1386294361

/** The graph gives its table; the table's positions are the step's. */
function tableGraph(frequencies: readonly number[], scale = magnitude): KernelGraph {
  const graph = new KernelGraph()
  graph.finish({ y: graph.ropeTable('rotary', frequencies, scale) })
  return graph
}

/** As the harness wants to know N. */
function positionStep(positions: Int32Array) {
  return { positions, tokens: positions }
}

// One rounding to f32, and what f64 functions of different libraries may differ by.
const allowed = () => magnitude * 6e-8

describe('rope-table', () => {
  it.each([1, 2, 3, 7, 8, 16, 17, 32, 48, 64, 127, 128])(
    'has cosines, then sines, of %i frequencies',
    (P) => {
      const frequencies = Array.from({ length: P }, (_, i) => 10_000 ** (-i / P))
      const graph = tableGraph(frequencies)
      const truth = graph.interpreter()
      for (const [program, isa] of graph.programs({ threads: 3, maxTokens: 512 })) {
        const random = new Random(P)
        for (const N of rowCounts) {
          const step = positionStep(Int32Array.from({ length: N }, () => random.integer(0, 4095)))
          const error = worstError(program.run(step).y, truth.run(step).y, allowed)
          expect(error, `${isa}, ${N} positions`).toBeLessThanOrEqual(1)
        }
      }
    },
  )

  it('keeps its digits at the largest positions and for odd frequencies', () => {
    const graph = tableGraph([1, 0, -0.5, 1e-30, 1e5, Math.PI, 1 / 3, 1e-4])
    const step = positionStep(Int32Array.of(0, 1, 2, 100_000, 1_048_576, 16_777_217, 2 ** 31 - 2))
    const expected = graph.interpreter().run(step)
    for (const [program, isa] of graph.programs()) {
      expect(worstError(program.run(step).y, expected.y, allowed), isa).toBeLessThanOrEqual(1)
    }
  })

  it('has ones and zeros at position 0', () => {
    const graph = tableGraph([1, 0.1, 0.01], 1)
    for (const [program, isa] of graph.programs()) {
      expect(difference(program.run(positionStep(Int32Array.of(0))).y, [1, 1, 1, 0, 0, 0]), isa).toBe('')
    }
  })

  it('is the same on every number of threads', () => {
    const graph = tableGraph([1, 0.3, 0.09])
    const step = positionStep(Int32Array.from({ length: 512 }, (_, n) => n * n))
    using alone = graph.program({ threads: 1, maxTokens: 512 })
    for (const threads of [2, 3]) {
      for (const [program, isa] of graph.programs({ threads, maxTokens: 512 })) {
        expect(difference(program.run(step).y, alone.run(step).y), `${isa}, ${threads} threads`).toBe('')
      }
    }
  })
})
