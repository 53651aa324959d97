import { describe, expect, it } from 'vitest'
import type { ValueId } from '#kvasir/graph/graph.js'
import { expectRowsAlone, KernelGraph, rowCounts, rowStep, rowsOf } from './kernel-graph.js'
import { onCuda } from './native-program.js'
import type { BlockType, WeightType } from './numbers.js'
import { difference, extremes, nmse, randomNumbers, roundTo, roundToBlocks } from './numbers.js'

const floatTypes: WeightType[] = ['f32', 'f16', 'bf16']
const blockTypes: BlockType[] = ['q8', 'q4']
/** bf16 weights, with x rounded to bf16 too. */
const roundedTypes = onCuda ? [] : (['bf16, rounding x'] as const)
const types = [...floatTypes, ...blockTypes, ...roundedTypes]
type HeldType = (typeof types)[number]

interface Layer {
  activation?: string
  gated?: boolean
  bias?: boolean
  residual?: ValueId
}

/** Records linear layers with any epilogue, their weights held in one type. */
class LinearGraph extends KernelGraph {
  readonly type: WeightType | BlockType
  readonly roundsOperand: boolean

  constructor(held: HeldType) {
    super()
    this.roundsOperand = held === 'bf16, rounding x'
    this.type = held === 'bf16, rounding x' ? 'bf16' : held
  }

  /** Program options by which the weights, and nothing else, are held in the type. */
  get stored() {
    return { storedTypes: (parameter: string) => (parameter.startsWith('w') ? this.type : 'f32') } as const
  }

  /** `size` outputs, (N,K) to (N,size), with random weights of the type; `name` seeds them. */
  layer(name: number, x: ValueId, size: number, { bias = false, residual, ...layer }: Layer = {}): ValueId {
    const { activation = 'none', gated = false } = layer
    const K = this.columns(x)
    const parts = gated ? [`w${name}.gate`, `w${name}.up`] : [`w${name}`]
    const weights = parts.map((part, i) => {
      const numbers = randomNumbers(3 * name + i, size * K, Math.sqrt(3 / K))
      return this.parameter(part, [size, K], this.rounded(numbers, K))
    })
    const biasSize = size * parts.length
    const inputs = {
      x,
      weight: gated ? this.interleaved(`w${name}`, parts, size, K) : weights[0],
      bias: bias
        ? this.parameter(`bias${name}`, [biasSize], randomNumbers(3 * name + 2, biasSize))
        : undefined,
      residual,
    }
    return this.node('linear', `${name}`, inputs, [this.shape(x)[0], size], {
      activation,
      gated,
      ...(this.roundsOperand && { roundsOperand: true }),
    })
  }

  rounded(numbers: Float32Array, columns: number): Float32Array {
    const { type } = this
    return type === 'q8' || type === 'q4' ? roundToBlocks(type, numbers, columns) : roundTo(type, numbers)
  }

  /** What kernels are to compute from the weights as they are stored. */
  override interpreter() {
    return super.interpreter({ ...this.stored, matrixLayout: onCuda ? 'tiles' : 'panels' })
  }

  /** The weight of a gated linear as the passes make it. */
  interleaved(name: string, parts: string[], size: number, K: number): ValueId {
    const id = this.weight(name, [2 * size, K])
    const stacked = parts.map((parameter) => ({ parameter, rows: size }))
    Object.assign(this.graph.values[id], { interleaved: true, parts: stacked })
    return id
  }
}

const inputSizes = [1, 2, 3, 15, 16, 17, 31, 32, 33, 64, 127, 133]
const outputSizes = [1, 7, 8, 31, 32, 33, 63, 64, 65, 96, 129, 160]

/** Layers of many sizes, plain and gated, that read columns out of the middle of wider rows. */
function shapesGraph(type: HeldType, rows: number): LinearGraph {
  const graph = new LinearGraph(type)
  const whole = graph.activations('x', 150, randomNumbers(1, rows * 150, 2))
  const outputs: Record<string, ValueId> = {}
  inputSizes.forEach((K, i) => {
    const x = graph.slice('slice', whole, i % 5, K)
    for (const [j, gated] of [false, true].entries()) {
      const size = outputSizes[(i + 5 * j) % outputSizes.length]
      outputs[`${K} to ${size}, gated: ${gated}`] = graph.layer(2 * i + j, x, size, { gated })
    }
  })
  graph.finish(outputs)
  return graph
}

describe.each(types)('linear, weights in %s', (type) => {
  it("is the interpreter's at every size around tiles, panels and vectors", () => {
    const graph = shapesGraph(type, 133)
    const truth = graph.interpreter().run(rowStep(133))
    for (const [program, isa] of graph.programs({ ...graph.stored, threads: 3, maxTokens: 133 })) {
      for (const M of rowCounts.filter((count) => count <= 133)) {
        for (const [name, found] of Object.entries(program.run(rowStep(M, 133 - M)))) {
          const cols = found.length / M
          const expected = rowsOf(truth[name], cols, M, 133 - M)
          expect(nmse(found, expected), `${isa}, ${M} rows, ${name}`).toBeLessThan(3e-13)
        }
      }
    }
  })

  it("is the interpreter's for many rows and columns", () => {
    const graph = new LinearGraph(type)
    const wide = graph.activations('x', 1000, randomNumbers(1, 512 * 1000))
    const narrow = graph.slice('slice', wide, 300, 200)
    graph.finish({ wide: graph.layer(1, wide, 66), narrow: graph.layer(2, narrow, 300, { gated: true }) })
    const truth = graph.interpreter().run(rowStep(512))
    for (const [program, isa] of graph.programs({ ...graph.stored, threads: 3, maxTokens: 512 })) {
      for (const M of [1, 4, 5, 64, 132, 133, 512]) {
        const { wide, narrow } = program.run(rowStep(M))
        expect(nmse(wide, rowsOf(truth.wide, 66, M)), `${isa}, ${M} rows`).toBeLessThan(1e-12)
        expect(nmse(narrow, rowsOf(truth.narrow, 300, M)), `${isa}, ${M} rows`).toBeLessThan(1e-12)
      }
    }
  })

  it('finishes its sums with every epilogue', () => {
    const graph = new LinearGraph(type)
    const x = graph.activations('x', 33, randomNumbers(1, 33 * 33, 2))
    const added = graph.activations('residual', 70, randomNumbers(2, 33 * 70))
    const residual = graph.slice('slice', graph.activations('spaced', 90, randomNumbers(3, 33 * 90)), 11, 70)
    const outputs: Record<string, ValueId> = {}
    let count = 0
    for (const activation of ['none', 'relu', 'gelu', 'gelu-tanh', 'silu']) {
      for (const gated of [false, true]) {
        for (const bias of [false, true]) {
          for (const other of [undefined, added, residual]) {
            const name = JSON.stringify({ activation, gated, bias, residual: other })
            outputs[name] = graph.layer(count++, x, 70, { activation, gated, bias, residual: other })
          }
        }
      }
    }
    graph.finish(outputs)
    const truth = graph.interpreter().run(rowStep(33))
    for (const [program, isa] of graph.programs({ ...graph.stored, maxTokens: 33 })) {
      expect(program.graph.nodes.filter((node) => node.op === 'linear')).toHaveLength(count)
      for (const M of [1, 3, 4, 5, 13, 33]) {
        for (const [name, found] of Object.entries(program.run(rowStep(M)))) {
          const error = nmse(found, rowsOf(truth[name], 70, M))
          expect(error, `${isa}, ${M} rows, ${name}`).toBeLessThan(3e-13)
        }
      }
    }
  })

  it('gives a row the same bits in any company, on any number of threads', () => {
    const graph = new LinearGraph(type)
    const whole = graph.activations('x', 700, randomNumbers(1, 133 * 700))
    const [x, residual] = [graph.slice('x', whole, 9, 133), graph.slice('residual', whole, 500, 65)]
    graph.finish({
      plain: graph.layer(1, x, 160),
      deep: graph.layer(2, whole, 40, { bias: true, activation: 'gelu' }),
      gated: graph.layer(3, x, 65, { gated: true, activation: 'silu', bias: true, residual }),
      small: graph.layer(4, graph.slice('small', whole, 1, 5), 3),
    })
    expectRowsAlone(graph, 133, graph.stored)
  })

  it('reads each weight from its place', () => {
    // Rows of the unit matrix choose columns of the weights.
    const [K, N] = [37, 67]
    const graph = new LinearGraph(type)
    const unit = Float32Array.from({ length: K * K }, (_, i) => (i % (K + 1) === 0 ? 1 : 0))
    graph.finish({ y: graph.layer(1, graph.activations('x', K, unit), N) })
    const weight = graph.weights('w1')
    const expected = Float32Array.from({ length: K * N }, (_, i) => weight[(i % N) * K + Math.floor(i / N)])
    // Of blocks the 1 of x is rounded, too: 127 / 127 in f32.
    const wrong = (y: ArrayLike<number>, wanted: Float32Array) =>
      !blockTypes.includes(type as BlockType)
        ? difference(y, wanted)
        : Array.from(y).findIndex((number, i) => Math.abs(number - wanted[i]) > 1e-7)
    const right = blockTypes.includes(type as BlockType) ? -1 : ''
    for (const [program, isa] of graph.programs({ ...graph.stored, maxTokens: K })) {
      const { y } = program.run(rowStep(K))
      expect(wrong(y as Float32Array, expected), isa).toBe(right)
      for (const row of [0, 1, K - 1]) {
        expect(wrong(program.run(rowStep(1, row)).y, rowsOf(expected, N, 1, row)), isa).toBe(right)
      }
    }
  })

  it('keeps NaN, infinity and subnormals within their rows', () => {
    const K = 19
    const fine = randomNumbers(7, K)
    const rows = [
      fine,
      fine.with(18, NaN),
      fine,
      fine.with(0, Infinity),
      fine,
      fine.map((x) => x * 1e-42),
      fine,
    ]
    rows.push(
      fine.map((x) => x * 1e38),
      new Float32Array(K),
      fine,
    )
    const graph = new LinearGraph(type)
    const x = graph.activations('x', K, Float32Array.from(rows.flatMap((row) => [...row])))
    graph.finish({ y: graph.layer(1, x, 40), shifted: graph.layer(2, x, 40, { bias: true }) })
    const truth = graph.interpreter().run(rowStep(rows.length))
    for (const [program, isa] of graph.programs({ ...graph.stored, maxTokens: rows.length })) {
      const found = program.run(rowStep(rows.length)) as Record<string, Float32Array>
      const row = (name: string, m: number) => rowsOf(found[name], 40, 1, m)
      for (const m of [2, 4, 6, 9]) expect(difference(row('y', m), row('y', 0)), isa).toBe('')
      expect(row('y', 1).every(Number.isNaN), isa).toBe(true)
      for (const m of [0, 3, 7, 8]) {
        expect(nmse(row('y', m), rowsOf(truth.y, 40, 1, m)), `${isa}, row ${m}`).toBeLessThan(1e-13)
      }
      // Subnormals have fewer digits, or count as zeros.
      if (graph.roundsOperand)
        expect(
          row('y', 5).every((number) => number === 0),
          isa,
        ).toBe(true)
      else expect(nmse(row('y', 5), rowsOf(truth.y, 40, 1, 5)), isa).toBeLessThan(1e-4)
      expect(difference(row('shifted', 8), graph.weights('bias2')), isa).toBe('')
    }
  })
})

describe.skipIf(onCuda).each(blockTypes)('linear, weights in %s', (type) => {
  it('gives the same bits on every instruction set that multiplies and adds in one', () => {
    const graph = shapesGraph(type, 512)
    let first: Record<string, Float32Array>[] | undefined
    for (const [program, isa] of graph.programs({ ...graph.stored, maxTokens: 512 })) {
      if (process.arch === 'x64' && isa === 'baseline') continue
      const found = rowCounts.map((M) => program.run(rowStep(M)) as Record<string, Float32Array>)
      first ??= found
      for (const [i, M] of rowCounts.entries())
        for (const [name, y] of Object.entries(found[i]))
          expect(difference(y, first[i][name]), `${isa}, ${M} rows, ${name}`).toBe('')
    }
  })
})

describe.each(floatTypes)('linear, weights in %s', (type) => {
  it('rounds weights to the nearest', () => {
    const exact = randomNumbers(5, 40 * 33)
    const graph = new LinearGraph(type)
    const x = graph.activations('x', 33, randomNumbers(6, 8 * 33))
    const weight = graph.parameter('w', [40, 33], exact)
    graph.finish({
      y: graph.node('linear', '', { x, weight }, ['N', 40], { activation: 'none', gated: false }),
    })
    const programs = graph.programs({ ...graph.stored, maxTokens: 8 })
    const rounded = roundTo(type, exact)
    for (const [program, isa] of programs) {
      graph.parameter('w', [40, 33], rounded)
      const { y } = graph.interpreter().run(rowStep(8))
      expect(nmse(program.run(rowStep(8)).y, y), isa).toBeLessThan(1e-13)
      graph.parameter('w', [40, 33], exact)
    }
  })

  it('keeps weights of any size', () => {
    const most = { f32: Infinity, f16: 65504, bf16: 3.3895313e38 }[type]
    const own = [...extremes, 5.9604645e-8, -6.097555e-5, 9.1835e-41].filter(
      (x) => !Number.isFinite(x) || Math.abs(x) <= most,
    )
    const numbers = roundTo(type, own)
    const graph = new LinearGraph(type)
    const weight = graph.parameter('w', [numbers.length, 1], numbers)
    const inputs = { x: graph.activations('x', 1, [1, 1, 1, 1, 1]), weight }
    graph.finish({
      y: graph.node('linear', '', inputs, ['N', own.length], { activation: 'none', gated: false }),
    })
    for (const [program, isa] of graph.programs(graph.stored)) {
      for (const M of [1, 5]) {
        const found = program.run(rowStep(M)).y as Float32Array
        // A sum that begins with 0 is 0, not -0.
        const expected = numbers.map((x) => x + 0)
        for (let m = 0; m < M; m++)
          expect(difference(rowsOf(found, own.length, 1, m), expected), isa).toBe('')
      }
    }
  })
})

describe('linear', () => {
  it("is the interpreter's on output rows", () => {
    const graph = new LinearGraph('f32')
    const x = graph.gatherRows('gather', graph.activations('x', 33, randomNumbers(1, 20 * 33)))
    const gate = graph.layer(1, x, 45, { gated: true, activation: 'silu' })
    graph.finish({ y: graph.layer(2, gate, 33, { residual: x, bias: true }) })
    const truth = graph.interpreter()
    for (const [program, isa] of graph.programs({ maxTokens: 20 })) {
      for (const R of [1, 2, 7, 20]) {
        const outputRows = Int32Array.from({ length: R }, (_, r) => (r * 13 + 5) % 20)
        const step = { ...rowStep(20), outputRows }
        expect(nmse(program.run(step).y, truth.run(step).y), `${isa}, ${R} rows`).toBeLessThan(3e-13)
      }
    }
  })

  it('gives each of 512 rows the same bits as alone', () => {
    const graph = new LinearGraph('f32')
    const x = graph.activations('x', 300, randomNumbers(1, 512 * 300))
    graph.finish({ y: graph.layer(1, x, 70, { gated: true, bias: true }) })
    expectRowsAlone(graph, 512)
  })
})
