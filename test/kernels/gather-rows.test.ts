import { describe, expect, it } from 'vitest'
import { Random } from '../graph/random.js'
import { columnCounts, KernelGraph, rowCounts, rowStep } from './kernel-graph.js'
import { difference, extremes, randomNumbers } from './numbers.js'

/** A step of N tokens that gathers R of their rows: the first, the last, and others in any order. */
function gatherStep(random: Random, N: number, R: number) {
  const outputRows = Int32Array.from({ length: R }, () => random.integer(0, N - 1))
  outputRows[0] = N - 1
  if (R > 1) outputRows[R - 1] = 0
  return { ...rowStep(N), outputRows }
}

describe('gather-rows', () => {
  it.each(columnCounts)('copies rows of %i columns in any order', (C) => {
    const graph = new KernelGraph()
    graph.finish({ y: graph.gatherRows('gather', graph.activations('x', C, randomNumbers(1, 65 * C))) })
    const truth = graph.interpreter()
    for (const [program, isa] of graph.programs({ threads: 3, maxTokens: 133 })) {
      const random = new Random(C)
      for (const R of rowCounts.filter((count) => count <= 133)) {
        for (const N of [1, 2, 65]) {
          const step = gatherStep(random, N, R)
          expect(difference(program.run(step).y, truth.run(step).y), `${isa}, ${R} of ${N} rows`).toBe('')
        }
      }
    }
  })

  it('copies extreme numbers as they are', () => {
    const graph = new KernelGraph()
    graph.finish({ y: graph.gatherRows('gather', graph.activations('x', extremes.length, extremes)) })
    for (const [program, isa] of graph.programs()) {
      const { y } = program.run({ ...rowStep(1), outputRows: Int32Array.of(0) })
      expect(difference(y, extremes), isa).toBe('')
    }
  })

  it('reads rows that lie apart', () => {
    const graph = new KernelGraph()
    const whole = graph.activations('whole', 50, randomNumbers(2, 33 * 50))
    graph.finish({ y: graph.gatherRows('gather', graph.slice('slice', whole, 13, 37)) })
    const step = gatherStep(new Random(1), 33, 40)
    const expected = graph.interpreter().run(step)
    for (const [program, isa] of graph.programs({ maxTokens: 40 })) {
      expect(difference(program.run(step).y, expected.y), isa).toBe('')
    }
  })

  it.each([1, 2, 3])('shares many rows among %i threads', (threads) => {
    const graph = new KernelGraph()
    graph.finish({ y: graph.gatherRows('gather', graph.activations('x', 700, randomNumbers(3, 100 * 700))) })
    const step = gatherStep(new Random(2), 100, 100)
    const expected = graph.interpreter().run(step)
    for (const [program, isa] of graph.programs({ threads, maxTokens: 100 })) {
      expect(difference(program.run(step).y, expected.y), isa).toBe('')
    }
  })
})
