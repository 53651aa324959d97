import { describe, expect, it } from 'vitest'
import { columnCounts, KernelGraph, rowCounts, rowStep, rowsOf } from './kernel-graph.js'
import { nmse, randomNumbers, ulp, worstError } from './numbers.js'

/** Absolute errors that the kernel's header promises, and relative ones for inputs in [-5, 0). */
const promises = {
  relu: { absolute: 0, relative: 0 },
  gelu: { absolute: 3.9e-7, relative: 2.1e-6 },
  'gelu-tanh': { absolute: 5.2e-7, relative: 2.1e-6 },
  silu: { absolute: 1.3e-6, relative: 2.2e-7 },
}
type Kind = keyof typeof promises
const kinds = Object.keys(promises) as Kind[]

/** A graph with an output for every kind of activation. */
function kindsGraph(x: Float32Array, cols: number, up?: Float32Array): KernelGraph {
  const graph = new KernelGraph()
  const input = graph.activations('x', cols, x)
  const gate = up && graph.activations('up', cols, up)
  graph.finish(Object.fromEntries(kinds.map((kind) => [kind, graph.activation(kind, input, kind, gate)])))
  return graph
}

describe.each([false, true])('activation, gated: %s', (gated) => {
  it.each(columnCounts)("is the interpreter's, rows of %i columns", (C) => {
    const up = gated ? randomNumbers(2, 133 * C, 2) : undefined
    const graph = kindsGraph(randomNumbers(1, 133 * C, 4), C, up)
    const expected = graph.interpreter().run(rowStep(133))
    for (const [program, isa] of graph.programs({ threads: 3, maxTokens: 133 })) {
      for (const N of rowCounts.filter((count) => count <= 133)) {
        const found = program.run(rowStep(N))
        for (const kind of kinds) {
          const allowed = kind === 'relu' && !gated ? 0 : 3e-13
          const error = nmse(found[kind], rowsOf(expected[kind], C, N))
          expect(error, `${isa}, ${kind}, ${N} rows`).toBeLessThanOrEqual(allowed)
        }
      }
    }
  })
})

describe('activation', () => {
  it('is as exact as promised over the range of f32', () => {
    const sizes = Array.from({ length: 2500 }, (_, i) => 2 ** (-126 + i / 10))
    const dense = Array.from({ length: 8001 }, (_, i) => (i - 4000) / 200)
    const x = Float32Array.from([...dense, ...sizes, ...sizes.map((size) => -size)])
    const graph = kindsGraph(x, x.length)
    const expected = graph.interpreter().run(rowStep(1))
    for (const [program, isa] of graph.programs()) {
      const found = program.run(rowStep(1))
      for (const kind of kinds) {
        const { absolute, relative } = promises[kind]
        const near = (y: number) => Math.max(absolute, Math.abs(y) > 1 ? 1.3 * ulp(y) : 0, 1e-36)
        expect(worstError(found[kind], expected[kind], near), `${isa}, ${kind}`).toBeLessThanOrEqual(1)
        // Small negative results keep their digits.
        const below = (y: number, i: number) =>
          x[i] >= -5 && x[i] < 0 ? Math.max(relative * -y, 1e-36) : Infinity
        expect(worstError(found[kind], expected[kind], below), `${isa}, ${kind} below 0`).toBeLessThanOrEqual(
          1,
        )
      }
    }
  })

  it('gives the limits at infinity, and NaN for NaN alone', () => {
    const x = Float32Array.of(
      Infinity,
      -Infinity,
      NaN,
      3.4e38,
      -3.4e38,
      0,
      -0,
      1e-45,
      -1e-45,
      1e-38,
      -1e-38,
      1,
    )
    const graph = kindsGraph(x, x.length)
    const expected = graph.interpreter().run(rowStep(1))
    for (const [program, isa] of graph.programs()) {
      const found = program.run(rowStep(1))
      for (const kind of kinds) {
        const error = worstError(found[kind], expected[kind], (y) => Math.max(ulp(y), 1e-36))
        expect(error, `${isa}, ${kind}: ${found[kind]}`).toBeLessThanOrEqual(1)
      }
    }
  })

  it('multiplies by extreme ungated numbers', () => {
    const up = Float32Array.of(0, -0, 1e-45, 3.4e38, -3.4e38, Infinity, -Infinity, NaN)
    const graph = kindsGraph(new Float32Array(up.length).fill(1.5), up.length, up)
    const expected = graph.interpreter().run(rowStep(1))
    for (const [program, isa] of graph.programs()) {
      const found = program.run(rowStep(1))
      for (const kind of kinds) {
        const error = worstError(found[kind], expected[kind], (y) => 4 * ulp(y))
        expect(error, `${isa}, ${kind}: ${found[kind]}`).toBeLessThanOrEqual(1)
      }
    }
  })

  it('reads rows that lie apart', () => {
    const graph = new KernelGraph()
    const whole = graph.activations('whole', 120, randomNumbers(3, 65 * 120, 3))
    const [x, up] = [graph.slice('x', whole, 1, 37), graph.slice('up', whole, 83, 37)]
    graph.finish({
      plain: graph.activation('plain', x, 'silu'),
      gated: graph.activation('gated', x, 'gelu', up),
    })
    const expected = graph.interpreter().run(rowStep(65))
    for (const [program, isa] of graph.programs({ maxTokens: 65 })) {
      const found = program.run(rowStep(65))
      for (const name of ['plain', 'gated'])
        expect(nmse(found[name], expected[name]), isa).toBeLessThan(3e-13)
    }
  })

  it.each([16_384, 16_385, 40_000])('shares rows of %i columns among threads', (C) => {
    const graph = kindsGraph(randomNumbers(4, 2 * C, 3), C, randomNumbers(5, 2 * C))
    const expected = graph.interpreter().run(rowStep(2))
    for (const threads of [1, 3]) {
      for (const [program, isa] of graph.programs({ threads, maxTokens: 2 })) {
        const found = program.run(rowStep(2))
        for (const kind of kinds) expect(nmse(found[kind], expected[kind]), isa).toBeLessThan(3e-13)
      }
    }
  })
})
