import { describe, expect, it } from 'vitest'
import { expectRowsAlone, KernelGraph, rowCounts, rowStep, rowsOf } from './kernel-graph.js'
import { nmse, randomNumbers } from './numbers.js'

interface Shape {
  C: number
  F: number
  E: number
  chosen: number
  normalised?: boolean
  activation?: string
}

const rows = 133

/** A mixture whose rows and logits are given. */
class MixtureGraph extends KernelGraph {
  constructor({ C, F, E, chosen, normalised = true, activation = 'silu' }: Shape, logits?: Float32Array) {
    super()
    const x = this.activations('x', C, randomNumbers(1, rows * C, 2))
    const rated = this.activations('logits', E, logits ?? randomNumbers(2, rows * E, 3))
    const inputs = {
      x,
      logits: rated,
      gate: this.stack('gate', matrices(1, E, F, C), C),
      up: this.stack('up', matrices(2, E, F, C), C),
      down: this.stack('down', matrices(3, E, C, F), F),
    }
    this.finish(this.nodeWith('experts', inputs, ['N', C], { y: 'f32' }, { chosen, normalised, activation }))
  }
}

function matrices(seed: number, count: number, outputs: number, inputs: number): Float32Array[] {
  return Array.from({ length: count }, (_, e) =>
    randomNumbers(1000 * seed + e, outputs * inputs, Math.sqrt(3 / inputs)),
  )
}

const shapes: Shape[] = [
  { C: 1, F: 1, E: 1, chosen: 1 },
  { C: 8, F: 5, E: 3, chosen: 2, normalised: false },
  { C: 40, F: 33, E: 8, chosen: 2 },
  { C: 65, F: 64, E: 5, chosen: 5, normalised: false, activation: 'gelu-tanh' },
  { C: 96, F: 130, E: 17, chosen: 4, activation: 'relu' },
  { C: 33, F: 31, E: 128, chosen: 8, normalised: false },
]

describe.each(shapes)('experts, $chosen of $E, width $C, hidden $F, normalised $normalised', (shape) => {
  it("are the interpreter's", () => {
    const graph = new MixtureGraph(shape)
    const truth = graph.interpreter().run(rowStep(rows)).y as Float64Array
    for (const [program, isa] of graph.programs({ threads: 3, maxTokens: rows })) {
      for (const N of rowCounts.filter((count) => count <= rows)) {
        const { y } = program.run(rowStep(N))
        expect(nmse(y, rowsOf(truth, shape.C, N)), `${isa}, ${N} rows`).toBeLessThan(1e-11)
      }
    }
  })

  it('give a row the same bits in any company', () => {
    expectRowsAlone(new MixtureGraph(shape), rows)
  })

  it.each(['bf16', 'f16', 'q8', 'q4'] as const)('with matrices in %s', (dtype) => {
    // The table of logits is rounded, too: only these few numbers are not, so that the experts are the same.
    const { E, chosen } = shape
    const plain = Float32Array.from({ length: rows * E }, (_, i) => {
      const [row, e] = [Math.floor(i / E), i % E]
      return (e + row) % E < chosen ? 1 : -1
    })
    const graph = new MixtureGraph(shape, plain)
    const truth = graph.interpreter().run(rowStep(rows)).y
    for (const [program, isa] of graph.programs({ dtype, maxTokens: rows })) {
      const allowed = { bf16: 2e-4, f16: 1e-5, q8: 2e-3, q4: 0.05 }[dtype]
      expect(nmse(program.run(rowStep(rows)).y, truth), isa).toBeLessThan(shape.C < 32 ? 1 : allowed)
    }
  })
})

describe('experts', () => {
  const shape = { C: 40, F: 24, E: 6, chosen: 3 }

  it('are the first of those with equal logits', () => {
    const equal = Float32Array.from({ length: rows * shape.E }, (_, i) => [1, 2, 2, 2, 2, 0][i % shape.E]!)
    const graph = new MixtureGraph(shape, equal)
    const truth = graph.interpreter().run(rowStep(rows)).y
    for (const [program, isa] of graph.programs({ maxTokens: rows }))
      expect(nmse(program.run(rowStep(rows)).y, truth), isa).toBeLessThan(1e-11)
  })

  it('can be one of the largest logits alone', () => {
    const steep = Float32Array.from({ length: rows * shape.E }, (_, i) => (i % shape.E === 4 ? 3e38 : -3e38))
    const graph = new MixtureGraph({ ...shape, chosen: 1 }, steep)
    const truth = graph.interpreter().run(rowStep(rows)).y
    for (const [program, isa] of graph.programs({ maxTokens: rows }))
      expect(nmse(program.run(rowStep(rows)).y, truth), isa).toBeLessThan(1e-11)
  })

  it('keep NaN within their rows', () => {
    const logits = randomNumbers(2, rows * shape.E, 3)
    const broken = logits.slice()
    for (const row of [3, 7]) broken.fill(NaN, row * shape.E, (row + 1) * shape.E)
    broken[20 * shape.E + 2] = NaN
    const [fine, graph] = [new MixtureGraph(shape, logits), new MixtureGraph(shape, broken)]
    const truth = fine.interpreter().run(rowStep(rows)).y as Float64Array
    for (const [program, isa] of graph.programs({ maxTokens: rows })) {
      const y = program.run(rowStep(rows)).y as Float32Array
      for (const row of [3, 7]) expect(rowsOf(y, shape.C, 1, row).every(Number.isNaN), isa).toBe(true)
      for (const row of [0, 2, 4, 6, 8, 21, 132])
        expect(nmse(rowsOf(y, shape.C, 1, row), rowsOf(truth, shape.C, 1, row)), isa).toBeLessThan(1e-11)
    }
  })
})
