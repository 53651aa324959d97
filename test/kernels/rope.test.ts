import { describe, expect, it } from 'vitest'
import type { StepInputs } from '../graph/steps.js'
import { KernelGraph, rowCounts, rowStep, rowsOf } from './kernel-graph.js'
import { difference, extremes, nmse, randomNumbers } from './numbers.js'

interface Shape {
  heads: number
  headSize: number
  /** Pairs of channels that are rotated. */
  pairs: number
}

/** Rotations in both layouts of the rows of `x`. */
function ropeGraph({ heads, headSize, pairs }: Shape, x: Float32Array): KernelGraph {
  const graph = new KernelGraph()
  const input = graph.activations('x', heads * headSize, x)
  const table = graph.ropeTable(
    'rotary',
    Array.from({ length: pairs }, (_, i) => 10_000 ** (-i / pairs)),
    1.25,
  )
  graph.finish({
    halves: graph.rope('halves', input, table, heads),
    pairs: graph.rope('pairs', input, table, heads, true),
    table,
  })
  return graph
}

/** Rows `first` and following, at positions that are far apart. */
function positionStep(count: number, first = 0, stride = 977): StepInputs {
  const step = rowStep(count, first)
  return { ...step, positions: (step.tokens as Int32Array).map((n) => (n * stride) % 131_072) }
}

/** What is left of a matrix of heads when the first 2P channels of each head are taken away. */
function unrotated(matrix: ArrayLike<number>, { headSize, pairs }: Shape): number[] {
  return Array.from(matrix).filter((_, i) => i % headSize >= 2 * pairs)
}

const shapes: Shape[] = [
  [1, 2, 1],
  [3, 8, 4],
  [2, 10, 5],
  [2, 16, 8],
  [1, 17, 8],
  [3, 24, 5],
  [2, 32, 16],
  [4, 40, 20],
  [2, 64, 32],
  [2, 64, 15],
  [1, 80, 16],
  [2, 96, 48],
  [3, 128, 64],
  [1, 192, 33],
  [1, 256, 128],
].map(([heads, headSize, pairs]) => ({ heads, headSize, pairs }))

describe.each(shapes)('rope of $heads heads of $headSize, $pairs pairs', (shape) => {
  const C = shape.heads * shape.headSize
  const x = randomNumbers(C, 133 * C, 3)
  const graph = ropeGraph(shape, x)

  it("is the interpreter's", () => {
    const truth = graph.interpreter()
    for (const [program, isa] of graph.programs({ threads: 3, maxTokens: 133 })) {
      for (const N of [1, 3, 16, 17, 133]) {
        const [found, expected] = [program.run(positionStep(N)), truth.run(positionStep(N))]
        for (const name of ['halves', 'pairs']) {
          expect(nmse(found[name], expected[name]), `${isa}, ${name}, ${N} rows`).toBeLessThan(1e-14)
          const copied = unrotated(x.subarray(0, N * C), shape)
          expect(difference(unrotated(found[name], shape), copied), `${isa}, ${name}, ${N} rows`).toBe('')
        }
      }
    }
  })

  it('rounds products before it sums them, in both layouts', () => {
    const { heads, headSize, pairs: P } = shape
    const step = positionStep(13)
    for (const [program, isa] of graph.programs()) {
      const found = program.run(step)
      const expected = { halves: x.slice(0, 13 * C), pairs: x.slice(0, 13 * C) }
      for (let i = 0; i < 13 * heads * P; i++) {
        const [head, pair] = [Math.floor(i / P), i % P]
        const [cos, sin] = [pair, P + pair].map((c) => found.table[Math.floor(head / heads) * 2 * P + c])
        for (const [name, at, distance] of [
          ['halves', pair, P],
          ['pairs', 2 * pair, 1],
        ] as const) {
          const first = head * headSize + at
          const [a, b] = [x[first], x[first + distance]]
          expected[name][first] = Math.fround(a * cos) - Math.fround(b * sin)
          expected[name][first + distance] = Math.fround(b * cos) + Math.fround(a * sin)
        }
      }
      for (const name of ['halves', 'pairs'] as const)
        expect(difference(found[name], expected[name]), isa).toBe('')
    }
  })
})

describe('rope', () => {
  it('keeps extreme numbers within their pairs', () => {
    const shape = { heads: 2, headSize: extremes.length * 2 + 1, pairs: extremes.length }
    const beside = randomNumbers(3, shape.headSize - extremes.length)
    const rows = [...extremes, ...beside, ...beside, ...extremes]
    const graph = ropeGraph(shape, Float32Array.from(rows))
    const expected = graph.interpreter().run(positionStep(1))
    for (const [program, isa] of graph.programs()) {
      const found = program.run(positionStep(1))
      for (const name of ['halves', 'pairs']) {
        found[name].forEach((value, i) => {
          const wanted = expected[name][i]
          const where = `${isa}, ${name}, element ${i}`
          if (!Number.isFinite(Math.fround(wanted))) expect(value, where).toBe(Math.fround(wanted))
          else expect(Math.abs(value - wanted), where).toBeLessThanOrEqual(Math.abs(wanted) * 1e-6 + 1e-30)
        })
      }
    }
  })

  it('reads rows that lie apart', () => {
    const graph = new KernelGraph()
    const whole = graph.activations('whole', 120, randomNumbers(7, 65 * 120))
    const table = graph.ropeTable('rotary', [1, 0.1, 0.01, 0.001])
    const [left, right] = [graph.slice('left', whole, 3, 36), graph.slice('right', whole, 83, 36)]
    graph.finish({
      left: graph.rope('left', left, table, 4),
      right: graph.rope('right', right, table, 3, true),
    })
    const expected = graph.interpreter().run(positionStep(65))
    for (const [program, isa] of graph.programs({ maxTokens: 65 })) {
      const found = program.run(positionStep(65))
      for (const name of ['left', 'right']) expect(nmse(found[name], expected[name]), isa).toBeLessThan(1e-14)
    }
  })

  it('gives a row the same bits in any company, on any number of threads', () => {
    const graph = ropeGraph({ heads: 6, headSize: 80, pairs: 33 }, randomNumbers(8, 512 * 480))
    for (const [whole, isa] of graph.programs({ threads: 1, maxTokens: 512 })) {
      const all = whole.run(positionStep(512)) as Record<string, Float32Array>
      for (const threads of [1, 2, 3]) {
        using program = graph.program({ isa, threads, maxTokens: 512 })
        for (const N of rowCounts) {
          const { halves, pairs } = program.run(positionStep(N, 512 - N))
          expect(difference(halves, rowsOf(all.halves, 480, N, 512 - N)), `${isa}, ${N} rows`).toBe('')
          expect(difference(pairs, rowsOf(all.pairs, 480, N, 512 - N)), `${isa}, ${N} rows`).toBe('')
        }
      }
    }
  })

  it('turns by the same angle between equally distant positions, however far', () => {
    // The product of two rotated vectors depends on their distance alone.
    const shape = { heads: 1, headSize: 64, pairs: 32 }
    const graph = ropeGraph(shape, randomNumbers(9, 2 * 64))
    const products = (found: ArrayLike<number>) => {
      const [a, b] = [0, 64].map((start) => Array.from(found).slice(start, start + 64))
      return a.reduce((sum, value, i) => sum + value * b[i], 0)
    }
    for (const [program, isa] of graph.programs()) {
      const at = (position: number) =>
        program.run({ ...rowStep(2), positions: Int32Array.of(position, position + 5) })
      const near = at(0)
      for (const position of [1, 1000, 131_072, 10_000_000]) {
        for (const name of ['halves', 'pairs']) {
          const distance = Math.abs(products(at(position)[name]) - products(near[name]))
          expect(distance, `${isa}, ${name}, position ${position}`).toBeLessThan(1e-5)
        }
      }
    }
  })
})
