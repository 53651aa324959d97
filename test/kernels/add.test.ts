import { describe, expect, it } from 'vitest'
import { columnCounts, KernelGraph, rowCounts, rowStep } from './kernel-graph.js'
import { difference, extremes, randomNumbers } from './numbers.js'

describe('add', () => {
  it.each(columnCounts)('gives sums rounded once, rows of %i columns', (C) => {
    const graph = new KernelGraph()
    const a = graph.activations('a', C, randomNumbers(1, 133 * C, 1e3))
    const b = graph.activations('b', C, randomNumbers(2, 133 * C))
    graph.finish({ y: graph.add('add', a, b), twice: graph.add('add', a, a) })
    const truth = graph.interpreter()
    for (const [program, isa] of graph.programs({ threads: 3, maxTokens: 133 })) {
      for (const N of rowCounts.filter((count) => count <= 133)) {
        const { y, twice } = program.run(rowStep(N))
        const expected = truth.run(rowStep(N))
        expect(difference(y, expected.y), `${isa}, ${N} rows`).toBe('')
        expect(difference(twice, expected.twice), `${isa}, ${N} rows`).toBe('')
      }
    }
  })

  it('adds every pair of extreme numbers', () => {
    const count = extremes.length
    const graph = new KernelGraph()
    const pairs = Array.from({ length: count * count }, (_, i) => i)
    const a = graph.activations(
      'a',
      count,
      pairs.map((i) => extremes[Math.floor(i / count)]),
    )
    const b = graph.activations(
      'b',
      count,
      pairs.map((i) => extremes[i % count]),
    )
    graph.finish({ y: graph.add('add', a, b) })
    const expected = graph.interpreter().run(rowStep(count))
    for (const [program, isa] of graph.programs({ maxTokens: count })) {
      expect(difference(program.run(rowStep(count)).y, expected.y), isa).toBe('')
    }
  })

  it('reads rows that lie apart', () => {
    const graph = new KernelGraph()
    const whole = graph.activations('whole', 120, randomNumbers(3, 65 * 120))
    const [a, b] = [graph.slice('a', whole, 1, 37), graph.slice('b', whole, 83, 37)]
    graph.finish({
      y: graph.add('add', a, b),
      overlapping: graph.add('add', a, graph.slice('c', whole, 2, 37)),
    })
    const truth = graph.interpreter()
    for (const [program, isa] of graph.programs({ maxTokens: 65 })) {
      for (const N of [1, 2, 65]) {
        const found = program.run(rowStep(N))
        const expected = truth.run(rowStep(N))
        for (const name of ['y', 'overlapping']) expect(difference(found[name], expected[name]), isa).toBe('')
      }
    }
  })

  it.each([16_384, 16_385, 40_000])('shares rows of %i columns among threads', (C) => {
    const graph = new KernelGraph()
    const a = graph.activations('a', C, randomNumbers(4, 3 * C))
    const b = graph.activations('b', C, randomNumbers(5, 3 * C))
    graph.finish({ y: graph.add('add', a, b) })
    const expected = graph.interpreter().run(rowStep(3))
    for (const threads of [1, 2, 3]) {
      for (const [program, isa] of graph.programs({ threads, maxTokens: 3 })) {
        expect(difference(program.run(rowStep(3)).y, expected.y), `${isa}, ${threads} threads`).toBe('')
      }
    }
  })
})
