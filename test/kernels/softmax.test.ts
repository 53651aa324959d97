import { describe, expect, it } from 'vitest'
import { columnCounts, expectRowsAlone, KernelGraph, rowCounts, rowStep, rowsOf } from './kernel-graph.js'
import { difference, nmse, randomNumbers, worstError } from './numbers.js'

// The difference from the maximum, at most -log y, is rounded once; its exponential is off by 8.2e-8, and 0 below
// e^-87.3.
const allowed = (y: number) => (y === 0 ? Number.MIN_VALUE : y * (4e-7 - 6e-8 * Math.log(y)) + 1.2e-38)

function softmaxGraph(x: Float32Array, cols: number): KernelGraph {
  const graph = new KernelGraph()
  graph.finish({ y: graph.softmax('softmax', graph.activations('x', cols, x)) })
  return graph
}

describe('softmax', () => {
  it.each([...columnCounts, 1000, 50_257])("is the interpreter's, rows of %i columns", (C) => {
    const most = C <= 300 ? 133 : 8
    const graph = softmaxGraph(randomNumbers(1, most * C, 12), C)
    const truth = graph.interpreter()
    for (const [program, isa] of graph.programs({ threads: 3, maxTokens: most })) {
      for (const N of rowCounts.filter((count) => count <= most)) {
        const [{ y }, expected] = [program.run(rowStep(N)), truth.run(rowStep(N))]
        // A sum of many f32 terms is off by more.
        const ofSum = C <= 1000 ? 0 : 1.5e-6
        const error = worstError(y, expected.y, (p) => allowed(p) + ofSum * p)
        expect(error, `${isa}, ${N} rows`).toBeLessThanOrEqual(1)
        expect(nmse(y, expected.y), `${isa}, ${N} rows`).toBeLessThan(C <= 1000 ? 1e-13 : 1e-11)
      }
    }
  })

  it('takes any range of numbers', () => {
    const C = 33
    const rows = [
      randomNumbers(2, C, 1e-6),
      randomNumbers(3, C, 100),
      randomNumbers(4, C, 1e30),
      randomNumbers(5, C).map((x) => x + 1000),
      randomNumbers(6, C).map((x) => x - 1e6),
      new Float32Array(C).fill(3.4e38),
      new Float32Array(C).fill(-3.4e38),
      new Float32Array(C).fill(1e-45),
      new Float32Array(C).fill(0).fill(-0, 7),
      Float32Array.from({ length: C }, (_, i) => -4 * i),
    ]
    const graph = softmaxGraph(Float32Array.from(rows.flatMap((row) => [...row])), C)
    const expected = graph.interpreter().run(rowStep(rows.length))
    for (const [program, isa] of graph.programs({ maxTokens: rows.length })) {
      const { y } = program.run(rowStep(rows.length))
      expect(worstError(y, expected.y, allowed), isa).toBeLessThanOrEqual(1)
    }
  })

  it.each([1, 5, 16, 17, 100])('gives masked places nothing, in rows of %i columns', (C) => {
    // Every single place left, then a half of them.
    const rows = Array.from({ length: C }, (_, n) =>
      Float32Array.from({ length: C }, (_, c) => (c === n ? -7 : -Infinity)),
    )
    rows.push(Float32Array.from({ length: C }, (_, c) => (c % 2 === 0 ? c / 7 : -Infinity)))
    const graph = softmaxGraph(Float32Array.from(rows.flatMap((row) => [...row])), C)
    const expected = graph.interpreter().run(rowStep(rows.length))
    for (const [program, isa] of graph.programs({ maxTokens: rows.length })) {
      const { y } = program.run(rowStep(rows.length))
      expect(worstError(y, expected.y, allowed), isa).toBeLessThanOrEqual(1)
      expect(difference(rowsOf(y as Float32Array, C, C), rowsOf(expected.y, C, C)), isa).toBe('')
    }
  })

  it.each([1, 4, 15, 16, 17, 33])(
    'gives NaN where there is no answer, and only there, rows of %i columns',
    (C) => {
      const row = (numbers: (c: number) => number) => Array.from({ length: C }, (_, c) => numbers(c))
      const rows = [
        row((c) => c / 3),
        row((c) => (c === C - 1 ? NaN : 1)),
        row((c) => (c === 0 ? NaN : -Infinity)),
        row(() => -Infinity),
        row((c) => (c === C - 1 ? Infinity : 1)),
        row((c) => (c === 0 ? Infinity : NaN)),
        row((c) => -c / 3),
      ]
      const graph = softmaxGraph(Float32Array.from(rows.flat()), C)
      for (const [program, isa] of graph.programs({ maxTokens: rows.length })) {
        const { y } = program.run(rowStep(rows.length))
        rows.forEach((_, n) => {
          const found = rowsOf(y as Float32Array, C, 1, n)
          if (n === 0 || n === 6) expect(found.every(Number.isFinite), `${isa}, row ${n}`).toBe(true)
          else expect(found.every(Number.isNaN), `${isa}, row ${n}: ${found}`).toBe(true)
        })
      }
    },
  )

  it('reads rows that lie apart', () => {
    const graph = new KernelGraph()
    const whole = graph.activations('whole', 120, randomNumbers(7, 65 * 120, 5))
    graph.finish({ y: graph.softmax('softmax', graph.slice('x', whole, 41, 37)) })
    const expected = graph.interpreter().run(rowStep(65))
    for (const [program, isa] of graph.programs({ maxTokens: 65 })) {
      expect(worstError(program.run(rowStep(65)).y, expected.y, allowed), isa).toBeLessThanOrEqual(1)
    }
  })

  it.each([7, 1000])('gives a row of %i columns the same bits in any company', (C) => {
    expectRowsAlone(softmaxGraph(randomNumbers(8, 133 * C, 5), C), 133)
  })
})
