import { describe, expect, it } from 'vitest'
import { Random } from '../graph/random.js'
import { expectRefused } from './expect-refused.js'
import { KernelGraph } from './kernel-graph.js'
import { isas, onCuda, threadCounts } from './native-program.js'
import { randomNumbers, worstError } from './numbers.js'
import { allowedLogprob, randomLogits, range } from './sampling-steps.js'

/** Lists of rows of `logits` by `allowed`; the step's output rows are its tokens. */
function topGraph(V: number, most: number, logits: ArrayLike<number>, allowed = logits): KernelGraph {
  const graph = new KernelGraph()
  const inputs = {
    logits: graph.gatherRows('gather', graph.activations('logits', V, logits)),
    allowed: graph.gatherRows('gather allowed', graph.activations('allowed', V, allowed)),
    counts: graph.input('topCounts'),
  }
  const outputs = { topIds: 'i32', topLogprobs: 'f32' } as const
  graph.finish(graph.nodeWith('top-logits', inputs, ['R', most], outputs, { most }))
  return graph
}

const topStep = (rows: readonly number[], counts: (r: number) => number) => ({
  tokens: Int32Array.from(rows),
  outputRows: Int32Array.from(rows, (_, r) => r),
  topCounts: Int32Array.from(rows, (_, r) => counts(r)),
})

function expectLists(graph: KernelGraph, steps: ReturnType<typeof topStep>[], maxTokens: number): void {
  const truth = graph.interpreter()
  const expected = steps.map((step) => truth.run(step))
  for (const isa of isas) {
    for (const threads of threadCounts(1, 3)) {
      using program = graph.program({ isa, threads, maxTokens })
      steps.forEach((step, i) => {
        const { topIds, topLogprobs } = program.run(step)
        expect(Array.from(topIds), isa).toEqual(Array.from(expected[i].topIds))
        const error = worstError(topLogprobs, expected[i].topLogprobs, allowedLogprob)
        expect(error, isa).toBeLessThanOrEqual(1)
      })
    }
  }
}

describe('top-logits', () => {
  it.each([1, 2, 13, 31, 32, 33, 63, 64, 65, 255, 256, 257, 1000, 4097])(
    'lists what the interpreter does among %i',
    (V) => {
      const random = new Random(V)
      const count = onCuda ? 17 : 64
      const rows = () => range(count).flatMap(() => randomLogits(random, V))
      for (const most of [1, 5, 64]) {
        const graph = topGraph(V, most, rows(), rows())
        const steps = [1, 2, 3, 7, 17, 64]
          .filter((R) => R <= count)
          .map((R) =>
            topStep(random.shuffle(range(count)).slice(0, R), () =>
              random.pick([0, 1, most, random.integer(0, most)]),
            ),
          )
        expectLists(graph, steps, count)
      }
    },
  )

  it.each(onCuda ? [50_257] : [50_257, 128_256])('and among %i', (V) => {
    const random = new Random(V)
    const rows = () => range(5).flatMap(() => randomLogits(random, V))
    const step = topStep(range(5), (r) => [20, 256, 1, 0, 64][r])
    expectLists(topGraph(V, 256, rows(), rows()), [step], 5)
  })

  it('gives lower ids first among equals, and does not tell -0 from 0', () => {
    for (const V of [5, 70, 3000]) {
      const rows = [
        range(V).map(() => 1.5),
        range(V).map((id) => (id % 2 === 0 ? 0 : -0)),
        range(V).map((id) => -(id % 3)),
        range(V).map((id) => id / 8),
        range(V).map((id) => -id / 8),
      ]
      const graph = topGraph(V, 64, rows.flat())
      expectLists(graph, [topStep(range(rows.length), () => 64)], rows.length)
    }
  })

  it('leaves out what is not allowed', () => {
    const V = 90
    const logits = randomNumbers(1, V, 5)
    const rows = [
      range(V).map((id) => (id === 17 ? -100 : -Infinity)),
      range(V).map((id) => (id % 40 === 3 ? id : -Infinity)),
      range(V).map(() => -Infinity),
      range(V).map((id) => (id === 4 ? NaN : id === 5 ? 2 : -Infinity)),
    ]
    const graph = topGraph(
      V,
      8,
      rows.flatMap(() => [...logits]),
      rows.flat(),
    )
    for (const [program, isa] of graph.programs({ maxTokens: 4 })) {
      const { topIds, topLogprobs } = program.run(topStep(range(4), () => 8))
      const lists = range(4).map((r) => Array.from(topIds.subarray(8 * r, 8 * r + 8)))
      const padded = (...ids: number[]) => [...ids, ...new Array(8 - ids.length).fill(-1)]
      expect(lists, isa).toEqual([padded(17), padded(83, 43, 3), padded(), padded(5)])
      topIds.forEach((id, i) => {
        if (id === -1) expect(topLogprobs[i], isa).toBe(-Infinity)
        else expect(topLogprobs[i], isa).toBeGreaterThan(-20)
      })
    }
  })

  it('lists nothing of rows that no token could be chosen from', () => {
    const bad = [
      [1, NaN, 2],
      [1, Infinity, 2],
      [-Infinity, -Infinity, -Infinity],
    ]
    const fine = [1, 2, 3]
    const graph = topGraph(
      3,
      2,
      [...bad.flat(), ...fine, ...fine],
      [...bad.flatMap(() => fine), ...bad[1], ...fine],
    )
    for (const [program, isa] of graph.programs({ maxTokens: 5 })) {
      const { topIds } = program.run(topStep(range(5), () => 2))
      expect(Array.from(topIds), isa).toEqual([-1, -1, -1, -1, -1, -1, -1, -1, 2, 1])
    }
  })

  it('takes logits of any size', () => {
    const rows = [
      [3.4e38, -3.4e38, 3.4e38, 0],
      [-3.4e38, -3.4028235e38, -3.3e38, -Infinity],
      [1e-45, 0, -1e-45, 1e-38],
      [1e30, 1e30, 1e30, -1e30],
    ]
    expectLists(topGraph(4, 4, rows.flat()), [topStep(range(4), (r) => 4 - (r % 2))], 4)
  })

  it('refuses counts that are more than there is room for, or negative', () => {
    const graph = topGraph(9, 4, randomNumbers(1, 18))
    for (const [program] of graph.programs({ maxTokens: 2 })) {
      for (const count of [5, -1, 2 ** 31 - 1, -(2 ** 31)]) {
        const step = topStep([0, 1], (r) => (r === 1 ? count : 0))
        expectRefused(() => program.run(step), /topCounts\[1\] must be from 0 to 4/)
      }
    }
  })

  it.each([0, 257, 1.5, -1])('refuses room for %d', (most) => {
    expect(() => topGraph(9, most, randomNumbers(1, 18)).program()).toThrow(/most|shape/)
  })
})
