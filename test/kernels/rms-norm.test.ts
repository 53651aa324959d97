import { describe, expect, it } from 'vitest'
import { columnCounts, expectRowsAlone, KernelGraph, rowCounts, rowStep, rowsOf } from './kernel-graph.js'
import { normGraph, stack } from './norm-graph.js'
import { difference, nmse, randomNumbers, worstError } from './numbers.js'

const op = 'rms-norm'

describe('rms-norm', () => {
  it.each([...columnCounts, 768, 4096])("is the interpreter's, rows of %i columns", (C) => {
    const most = C <= 300 ? 133 : 33
    const graph = normGraph(op, randomNumbers(1, most * C, 3), C)
    const truth = graph.interpreter()
    for (const [program, isa] of graph.programs({ threads: 3, maxTokens: most })) {
      for (const N of rowCounts.filter((count) => count <= most)) {
        const [{ y }, expected] = [program.run(rowStep(N)), truth.run(rowStep(N))]
        expect(nmse(y, expected.y), `${isa}, ${N} rows`).toBeLessThan(3e-14)
      }
    }
  })

  const variants = [false, true].flatMap((residual) => [false, true].map((weight) => ({ residual, weight })))
  it.each(variants)('with residual: $residual, weight: $weight', ({ residual, weight }) => {
    for (const C of [1, 15, 16, 17, 133]) {
      const options = { weight, residual: residual ? randomNumbers(3, 33 * C, 2) : undefined, epsilon: 1e-6 }
      const graph = normGraph(op, randomNumbers(2, 33 * C), C, options)
      const expected = graph.interpreter().run(rowStep(33))
      for (const [program, isa] of graph.programs({ maxTokens: 33 })) {
        const { y, sum } = program.run(rowStep(33))
        expect(nmse(y, expected.y), `${isa}, ${C} columns`).toBeLessThan(1e-13)
        if (residual) expect(difference(sum, expected.sum), `${isa}, ${C} columns`).toBe('')
      }
    }
  })

  it('takes numbers of any size whose squares are f32', () => {
    const C = 37
    const scales = [1e-40, 1e-30, 1e-15, 1e-6, 1e-3, 1, 1e3, 1e9, 1e18]
    const x = stack(...scales.map((scale, i) => randomNumbers(i, C, scale)), new Float32Array(C))
    for (const epsilon of [1e-5, 1e-6, 1e-12]) {
      const graph = normGraph(op, x, C, { epsilon })
      const expected = graph.interpreter().run(rowStep(scales.length + 1))
      for (const [program, isa] of graph.programs({ maxTokens: scales.length + 1 })) {
        const y = program.run(rowStep(scales.length + 1)).y as Float32Array
        scales.forEach((scale, n) => {
          const error = nmse(rowsOf(y, C, 1, n), rowsOf(expected.y, C, 1, n))
          // Subnormals have fewer digits.
          expect(error, `${isa}, scale ${scale}`).toBeLessThan(scale < 1e-38 ? 1e-8 : 1e-13)
        })
        const zeros = rowsOf(y, C, 1, scales.length)
        expect(
          zeros.every((zero) => zero === 0),
          isa,
        ).toBe(true)
      }
    }
  })

  it('keeps the norm of a row with one large number among small ones', () => {
    const C = 129
    const rows = [0, 1, 63, 64, 127, 128].map((place) =>
      Float32Array.from({ length: C }, (_, c) => (c === place ? 1e4 : 1e-3)),
    )
    const graph = normGraph(op, stack(...rows), C)
    const expected = graph.interpreter().run(rowStep(rows.length))
    for (const [program, isa] of graph.programs({ maxTokens: rows.length })) {
      const { y } = program.run(rowStep(rows.length))
      expect(
        worstError(y, expected.y, (value) => 4e-7 * Math.abs(value)),
        isa,
      ).toBeLessThanOrEqual(1)
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
      for (const n of [2, 4, 6]) expect(difference(rowsOf(y, C, 1, n), rowsOf(y, C, 1)), isa).toBe('')
      expect(rowsOf(y, C, 1).every(Number.isFinite), isa).toBe(true)
      expect(rowsOf(y, C, 1, 1).every(Number.isNaN), isa).toBe(true)
      // The infinity itself becomes infinity times zero, and its row zeros.
      for (const [n, place] of [
        [3, 3],
        [5, 0],
      ]) {
        const row = rowsOf(y, C, 1, n)
        expect(
          row.every((value, c) => (c === place ? Number.isNaN(value) : value === 0)),
          isa,
        ).toBe(true)
      }
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
      expect(nmse(y, expected.y), isa).toBeLessThan(3e-14)
      expect(difference(sum, expected.sum), isa).toBe('')
    }
  })

  it.each([
    [1, 40],
    [3, 1],
    [3, 40],
    [8, 64],
    [5, 129],
  ])('normalises %i heads of %i channels each for itself, in rows that lie apart', (heads, D) => {
    const C = heads * D
    for (const hasResidual of [false, true]) {
      const graph = new KernelGraph()
      const whole = graph.activations('whole', 2 * C + 7, randomNumbers(21, 33 * (2 * C + 7), 3))
      const x = graph.slice('x', whole, 3, C)
      const residual = hasResidual ? graph.slice('residual', whole, C + 5, C) : undefined
      const weight = graph.parameter('weight', [D], randomNumbers(22, D, 2))
      const outputs: Record<string, 'f32'> = hasResidual ? { y: 'f32', sum: 'f32' } : { y: 'f32' }
      const attributes = { epsilon: 1e-6, heads }
      graph.finish(graph.nodeWith(op, { x, residual, weight }, ['N', C], outputs, attributes))
      const truth = graph.interpreter()
      for (const [program, isa] of graph.programs({ threads: 3, maxTokens: 33 })) {
        for (const N of [1, 5, 33]) {
          const [found, expected] = [program.run(rowStep(N)), truth.run(rowStep(N))]
          expect(nmse(found.y, expected.y), `${isa}, ${N} rows`).toBeLessThan(1e-13)
          if (hasResidual) expect(difference(found.sum, expected.sum), isa).toBe('')
        }
      }
    }
  })

  it.each([37, 768])('gives a row of %i columns the same bits in any company', (C) => {
    expectRowsAlone(normGraph(op, randomNumbers(8, 133 * C), C, { residual: randomNumbers(9, 133 * C) }), 133)
  })
})
