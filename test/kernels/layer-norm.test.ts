import { describe, expect, it } from 'vitest'
import { columnCounts, expectRowsAlone, KernelGraph, rowCounts, rowStep, rowsOf } from './kernel-graph.js'
import { normGraph, stack } from './norm-graph.js'
import { difference, nmse, randomNumbers, worstError } from './numbers.js'

const op = 'layer-norm'

describe('layer-norm', () => {
  it.each([...columnCounts, 768, 4096])("is the interpreter's, rows of %i columns", (C) => {
    const most = C <= 300 ? 133 : 33
    const graph = normGraph(op, randomNumbers(1, most * C, 3), C)
    const truth = graph.interpreter()
    for (const [program, isa] of graph.programs({ threads: 3, maxTokens: most })) {
      for (const N of rowCounts.filter((count) => count <= most)) {
        const [{ y }, expected] = [program.run(rowStep(N)), truth.run(rowStep(N))]
        expect(nmse(y, expected.y), `${isa}, ${N} rows`).toBeLessThan(1e-13)
      }
    }
  })

  const both = [false, true]
  const variants = both.flatMap((residual) =>
    both.flatMap((weight) => both.map((bias) => ({ residual, weight, bias }))),
  )
  it.each(variants)(
    'with residual: $residual, weight: $weight, bias: $bias',
    ({ residual, weight, bias }) => {
      for (const C of [1, 15, 16, 17, 133]) {
        const options = { weight, bias, residual: residual ? randomNumbers(3, 33 * C, 2) : undefined }
        const graph = normGraph(op, randomNumbers(2, 33 * C), C, options)
        const expected = graph.interpreter().run(rowStep(33))
        for (const [program, isa] of graph.programs({ maxTokens: 33 })) {
          const { y, sum } = program.run(rowStep(33))
          expect(
            worstError(y, expected.y, () => 3e-6),
            `${isa}, ${C} columns`,
          ).toBeLessThanOrEqual(1)
          if (residual) expect(difference(sum, expected.sum), `${isa}, ${C} columns`).toBe('')
        }
      }
    },
  )

  it('takes numbers of any size whose squares are f32', () => {
    const C = 37
    const scales = [1e-40, 1e-30, 1e-15, 1e-6, 1e-3, 1, 1e3, 1e9, 1e18]
    const x = stack(...scales.map((scale, i) => randomNumbers(i, C, scale)))
    for (const epsilon of [1e-5, 1e-6, 1e-12]) {
      const graph = normGraph(op, x, C, { epsilon, bias: false })
      const expected = graph.interpreter().run(rowStep(scales.length))
      for (const [program, isa] of graph.programs({ maxTokens: scales.length })) {
        const y = program.run(rowStep(scales.length)).y as Float32Array
        scales.forEach((scale, n) => {
          const error = nmse(rowsOf(y, C, 1, n), rowsOf(expected.y, C, 1, n))
          // Subnormals have fewer digits.
          expect(error, `${isa}, scale ${scale}`).toBeLessThan(scale < 1e-38 ? 1e-8 : 1e-13)
        })
      }
    }
  })

  it('keeps its digits far from zero', () => {
    const C = 100
    // Numbers m + d with d exactly representable beside m.
    const shifted = (mean: number, unit: number) =>
      Float32Array.from({ length: C }, (_, c) => mean + unit * (((c * 37) % 21) - 10))
    const x = stack(shifted(1000, 1 / 8), shifted(-1e5, 1 / 16), shifted(2 ** 22, 1), shifted(1e9, 1024))
    const graph = normGraph(op, x, C)
    const expected = graph.interpreter().run(rowStep(4))
    for (const [program, isa] of graph.programs({ maxTokens: 4 })) {
      const y = program.run(rowStep(4)).y as Float32Array
      for (let n = 0; n < 4; n++) {
        expect(nmse(rowsOf(y, C, 1, n), rowsOf(expected.y, C, 1, n)), `${isa}, row ${n}`).toBeLessThan(1e-12)
      }
    }
  })

  it.each([1, 3, 16, 17, 100, 768])('gives a row of %i equal numbers the bias', (C) => {
    const values = [0, 1, 0.1, -7.7, 1000.3, 1e6 + 0.3, -1e10, 1e-20]
    const graph = normGraph(op, stack(...values.map((value) => new Float32Array(C).fill(value))), C)
    const bias = randomNumbers(12, C)
    for (const [program, isa] of graph.programs({ maxTokens: values.length })) {
      const y = program.run(rowStep(values.length)).y as Float32Array
      values.forEach((value, n) => {
        const error = worstError(rowsOf(y, C, 1, n), bias, () => 1e-4)
        expect(error, `${isa}, rows of ${value}`).toBeLessThanOrEqual(1)
      })
    }
  })

  it('keeps NaN and infinity within their rows', () => {
    const C = 19
    const fine = randomNumbers(5, C)
    const x = stack(
      fine,
      fine.with(18, NaN),
      fine,
      fine.with(3, Infinity),
      fine,
      fine.with(0, -Infinity),
      fine,
    )
    const graph = normGraph(op, x, C)
    for (const [program, isa] of graph.programs({ maxTokens: 7 })) {
      const y = program.run(rowStep(7)).y as Float32Array
      expect(rowsOf(y, C, 1).every(Number.isFinite), isa).toBe(true)
      for (const n of [2, 4, 6]) expect(difference(rowsOf(y, C, 1, n), rowsOf(y, C, 1)), isa).toBe('')
      for (const n of [1, 3, 5]) expect(rowsOf(y, C, 1, n).every(Number.isNaN), `${isa}, row ${n}`).toBe(true)
    }
  })

  it('reads rows that lie apart', () => {
    const graph = new KernelGraph()
    const whole = graph.activations('whole', 120, randomNumbers(7, 65 * 120, 5))
    const inputs = { x: graph.slice('x', whole, 41, 37), residual: graph.slice('residual', whole, 3, 37) }
    graph.finish(graph.nodeWith(op, inputs, ['N', 37], { y: 'f32', sum: 'f32' }, { epsilon: 1e-5 }))
    const expected = graph.interpreter().run(rowStep(65))
    for (const [program, isa] of graph.programs({ maxTokens: 65 })) {
      const { y, sum } = program.run(rowStep(65))
      expect(nmse(y, expected.y), isa).toBeLessThan(1e-13)
      expect(difference(sum, expected.sum), isa).toBe('')
    }
  })

  it.each([37, 768])('gives a row of %i columns the same bits in any company', (C) => {
    expectRowsAlone(normGraph(op, randomNumbers(8, 133 * C), C, { residual: randomNumbers(9, 133 * C) }), 133)
  })
})
