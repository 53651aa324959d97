import { describe, expect, it } from 'vitest'
import { columnCounts, KernelGraph, rowCounts, rowStep, rowsOf } from './kernel-graph.js'
import { extremes, nmse, randomNumbers, worstError } from './numbers.js'

/** What the kernel's header promises; results below the smallest normal number have fewer digits. */
const allowed = (y: number) => 6e-7 * Math.abs(y) + 1e-36

describe('softcap', () => {
  it.each(columnCounts)("is the interpreter's, rows of %i columns", (C) => {
    const graph = new KernelGraph()
    const x = graph.activations('x', C, randomNumbers(1, 133 * C, 100))
    graph.finish({ y: graph.softcap('softcap', x, 30) })
    const truth = graph.interpreter().run(rowStep(133))
    for (const [program, isa] of graph.programs({ threads: 3, maxTokens: 133 })) {
      for (const N of rowCounts.filter((count) => count <= 133)) {
        const { y } = program.run(rowStep(N))
        expect(nmse(y, rowsOf(truth.y, C, N)), `${isa}, ${N} rows`).toBeLessThan(1e-13)
      }
    }
  })

  it.each([1e-3, 1, 30, 1e6])('is as exact as promised over the range of f32, cap %d', (cap) => {
    const sizes = Array.from({ length: 2500 }, (_, i) => 2 ** (-126 + i / 10))
    const dense = Array.from({ length: 8001 }, (_, i) => ((i - 4000) / 400) * cap)
    const x = Float32Array.from([...dense, ...sizes, ...sizes.map((size) => -size)])
    const graph = new KernelGraph()
    graph.finish({ y: graph.softcap('softcap', graph.activations('x', x.length, x), cap) })
    const { y: truth } = graph.interpreter().run(rowStep(1))
    for (const [program, isa] of graph.programs()) {
      expect(worstError(program.run(rowStep(1)).y, truth, allowed), isa).toBeLessThanOrEqual(1)
    }
  })

  it('gives the bounds at infinity, and NaN for NaN alone', () => {
    const x = Float32Array.from([...extremes, Infinity, -Infinity, NaN])
    const graph = new KernelGraph()
    graph.finish({ y: graph.softcap('softcap', graph.activations('x', x.length, x), 5) })
    for (const [program, isa] of graph.programs()) {
      const { y } = program.run(rowStep(1))
      x.forEach((value, i) => {
        expect(Number.isNaN(y[i]), `${isa}, ${value}`).toBe(Number.isNaN(value))
        expect(Math.abs(y[i]) > 5, `${isa}, ${value}`).toBe(false)
        if (Math.abs(value) > 1e3) expect(y[i], isa).toBe(Math.sign(value) * 5)
      })
    }
  })

  it('reads rows that lie apart', () => {
    const graph = new KernelGraph()
    const whole = graph.activations('whole', 120, randomNumbers(2, 65 * 120, 9))
    graph.finish({ y: graph.softcap('softcap', graph.slice('slice', whole, 41, 37), 3) })
    const { y: truth } = graph.interpreter().run(rowStep(65))
    for (const [program, isa] of graph.programs({ maxTokens: 65 })) {
      expect(nmse(program.run(rowStep(65)).y, truth), isa).toBeLessThan(1e-13)
    }
  })

  it.each([16_384, 16_385, 40_000])('shares rows of %i columns among threads', (C) => {
    const graph = new KernelGraph()
    graph.finish({ y: graph.softcap('softcap', graph.activations('x', C, randomNumbers(3, 3 * C, 4)), 2) })
    const { y: truth } = graph.interpreter().run(rowStep(3))
    for (const threads of [1, 2, 3]) {
      for (const [program, isa] of graph.programs({ threads, maxTokens: 3 })) {
        expect(nmse(program.run(rowStep(3)).y, truth), `${isa}, ${threads} threads`).toBeLessThan(1e-13)
      }
    }
  })
})
