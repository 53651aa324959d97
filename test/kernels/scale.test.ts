import { describe, expect, it } from 'vitest'
import { columnCounts, KernelGraph, rowCounts, rowStep } from './kernel-graph.js'
import { difference, extremes, randomNumbers } from './numbers.js'

/** Every kind of factor: an f32 each, since that is what the kernel takes. */
const factors = [0.125, -0, 0, 1, -1, Math.fround(-3.7), Math.fround(1e-38), Math.fround(1e38)]

describe('scale', () => {
  it.each(columnCounts)('gives products rounded once, rows of %i columns', (C) => {
    const graph = new KernelGraph()
    const x = graph.activations('x', C, randomNumbers(1, 133 * C, 1e3))
    graph.finish({ y: graph.scale('scale', x, Math.fround(0.7)) })
    const truth = graph.interpreter()
    for (const [program, isa] of graph.programs({ threads: 3, maxTokens: 133 })) {
      for (const N of rowCounts.filter((count) => count <= 133)) {
        expect(difference(program.run(rowStep(N)).y, truth.run(rowStep(N)).y), `${isa}, ${N} rows`).toBe('')
      }
    }
  })

  it('multiplies extreme numbers by extreme factors', () => {
    const graph = new KernelGraph()
    const x = graph.activations('x', extremes.length, extremes)
    graph.finish(Object.fromEntries(factors.map((factor, i) => [`y${i}`, graph.scale(`y${i}`, x, factor)])))
    const expected = graph.interpreter().run(rowStep(1))
    for (const [program, isa] of graph.programs()) {
      const found = program.run(rowStep(1))
      factors.forEach((factor, i) => {
        expect(difference(found[`y${i}`], expected[`y${i}`]), `${isa}, factor ${factor}`).toBe('')
      })
    }
  })

  it('reads rows that lie apart', () => {
    const graph = new KernelGraph()
    const whole = graph.activations('whole', 120, randomNumbers(2, 65 * 120))
    graph.finish({ y: graph.scale('scale', graph.slice('slice', whole, 41, 37), -0.3125) })
    const expected = graph.interpreter().run(rowStep(65))
    for (const [program, isa] of graph.programs({ maxTokens: 65 })) {
      expect(difference(program.run(rowStep(65)).y, expected.y), isa).toBe('')
    }
  })

  it.each([16_384, 16_385, 40_000])('shares rows of %i columns among threads', (C) => {
    const graph = new KernelGraph()
    graph.finish({ y: graph.scale('scale', graph.activations('x', C, randomNumbers(3, 3 * C)), 0.3125) })
    const expected = graph.interpreter().run(rowStep(3))
    for (const threads of [1, 2, 3]) {
      for (const [program, isa] of graph.programs({ threads, maxTokens: 3 })) {
        expect(difference(program.run(rowStep(3)).y, expected.y), `${isa}, ${threads} threads`).toBe('')
      }
    }
  })
})
