import { describe, expect, it } from 'vitest'
import type { ValueId } from '#kvasir/graph/graph.js'
import type { AttentionOptions } from '../graph/graph-builder.js'
import { attentionGraph, pagedStep, randomHeads, shuffledBlocks } from '../kernels/attention-graph.js'
import { KernelGraph, rowStep, rowsOf } from '../kernels/kernel-graph.js'
import { isas, onCuda } from '../kernels/native-program.js'
import type { BlockType } from '../kernels/numbers.js'
import { difference, nmse, randomNumbers, roundTo, roundToBlocks } from '../kernels/numbers.js'
import type { HalfType } from './sixteen-bit.js'
import { HalfReference, halfOptions, halfPrograms, types } from './sixteen-bit.js'

// Kernels whose activations have 16 bits. An error may be twice that of rounding every result: 4 times its square.
const allowed = (rounding: number) => 4 * rounding + 1e-13

/** Rows that every variant of the linear kernel meets: few, some, many, and the edges between. */
const rowCounts = [1, 2, 7, 8, 9, 16, 17, 31, 33, 64, 65, 128, 129, 200]
const mostRows = 200

interface Layer {
  gated?: boolean
  activation?: string
  bias?: boolean
  residual?: ValueId
}

class HalfGraph extends KernelGraph {
  readonly type: HalfType
  readonly #block: BlockType | undefined
  /** Parameters that are held in blocks. */
  readonly blocks = new Map<string, BlockType>()

  constructor(type: HalfType, block?: BlockType) {
    super()
    this.type = type
    this.#block = block
  }

  table(name: string, rows: number, cols: number, seed: number): ValueId {
    return this.activations(name, cols, roundTo(this.type, randomNumbers(seed, rows * cols, 2)))
  }

  layer(name: string, x: ValueId, size: number, options: Layer = {}): ValueId {
    const { gated = false, activation = 'none', bias = false, residual } = options
    const K = this.columns(x)
    const parts = gated ? [`${name}.gate`, `${name}.up`] : [name]
    const seed = 7 * name.length + K + size
    parts.forEach((part, i) => {
      const numbers = randomNumbers(seed + i, size * K, Math.sqrt(3 / K))
      this.parameter(part, [size, K], this.#block ? roundToBlocks(this.#block, numbers, K) : numbers)
      if (this.#block) this.blocks.set(part, this.#block)
    })
    const weight = this.weight(name, [size * parts.length, K])
    if (gated) {
      const stacked = parts.map((parameter) => ({ parameter, rows: size }))
      Object.assign(this.graph.values[weight]!, { interleaved: true, parts: stacked })
    }
    const biasSize = size * parts.length
    const inputs = {
      x,
      weight,
      bias: bias ? this.parameter(`${name}.bias`, [biasSize], randomNumbers(seed + 5, biasSize)) : undefined,
      residual,
    }
    return this.node('linear', name, inputs, [this.shape(x)[0]!, size], { activation, gated })
  }
}

/** Expects right rows in steps of every size, and the same bits in all of them. */
function expectRows(graph: HalfGraph, type: HalfType, counts: readonly number[] = rowCounts): void {
  const total = Math.max(...counts)
  const reference = new HalfReference(graph, type, graph.blocks).run(rowStep(total))
  for (const [program, isa] of halfPrograms(graph, type, { maxTokens: total }, graph.blocks)) {
    const whole = program.run(rowStep(total)) as Record<string, Float32Array>
    for (const [name, { exact, rounding }] of Object.entries(reference))
      expect(nmse(whole[name]!, exact), `${isa}, ${name}`).toBeLessThan(allowed(rounding))
    for (const count of counts) {
      const first = (count * 7) % (total - count + 1)
      const found = program.run(rowStep(count, first)) as Record<string, Float32Array>
      for (const [name, rows] of Object.entries(found)) {
        const expected = rowsOf(whole[name]!, rows.length / count, count, first)
        expect(difference(rows, expected), `${isa}, ${name}, ${count} rows`).toBe('')
      }
    }
  }
}

const layerTypes: [HalfType, BlockType?][] = [
  ['bf16'],
  ['f16'],
  ['bf16', 'q8'],
  ['bf16', 'q4'],
  ['f16', 'q4'],
]

describe.runIf(onCuda).each(layerTypes)('in %s, weights in %s', (type, block) => {
  const counts = block ? [1, 2, 8, 9, 16, 17, 64, 130] : rowCounts

  it.each([
    [1, 1],
    [3, 63],
    [17, 65],
    [64, 64],
    [65, 130],
    [130, 31],
    [513, 200],
    [1030, 70],
    [2056, 40],
  ])('linear layers of %i to %i columns are right, and alike in any company', (K, size) => {
    const graph = new HalfGraph(type, block)
    const x = graph.table('x', mostRows, K, K)
    graph.finish({ y: graph.layer('w', x, size), gated: graph.layer('g', x, size, { gated: true }) })
    expectRows(graph, type, counts)
  })

  // Tiles are made of no more than 512 rows of so many columns at a time.
  it.runIf(block === 'q8')('layers of more rows than are unpacked at a time are right', () => {
    const graph = new HalfGraph(type, block)
    const x = graph.table('x', 17, 16_384, 6)
    const residual = graph.table('r', 17, 260, 7)
    graph.finish({ y: graph.layer('g', x, 260, { gated: true, activation: 'silu', bias: true, residual }) })
    expectRows(graph, type, [17])
  })

  it('linear layers end with every epilogue', () => {
    const graph = new HalfGraph(type, block)
    const x = graph.table('x', mostRows, 72, 1)
    const residual = graph.slice('r', graph.table('wide', mostRows, 100, 2), 11, 70)
    const outputs: Record<string, ValueId> = {}
    for (const activation of ['none', 'relu', 'gelu', 'gelu-tanh', 'silu']) {
      for (const gated of [false, true]) {
        const name = `${activation}${gated ? '-gated' : ''}`
        const options = { activation, gated, bias: true, residual: gated ? residual : undefined }
        outputs[name] = graph.scale(name, graph.layer(name, x, 70, options), 1)
      }
    }
    graph.finish(outputs)
    expectRows(graph, type, [1, 9, 33, 130])
  })

  it('linear layers read slices that start anywhere', () => {
    const graph = new HalfGraph(type, block)
    const whole = graph.table('whole', mostRows, 151, 3)
    const outputs = [0, 1, 2, 4, 7, 8].map((start) => [
      `${start}`,
      graph.scale(`s${start}`, graph.layer(`w${start}`, graph.slice('x', whole, start, 133), 40), 2),
    ])
    graph.finish(Object.fromEntries(outputs))
    expectRows(graph, type, [1, 16, 40, 140])
  })

  it('norms before linear layers are the same in one kernel and in two', () => {
    const graph = new HalfGraph(type, block)
    const outputs: Record<string, ValueId> = {}
    for (const C of [5, 64, 100, 520]) {
      const x = graph.table(`x${C}`, mostRows, C, C)
      const weight = graph.parameter(`weight${C}`, [C], randomNumbers(C, C))
      const bias = graph.parameter(`bias${C}`, [C], randomNumbers(C + 1, C))
      const shape = graph.shape(x)
      const rms = graph.node('rms-norm', `rms${C}`, { x, weight }, shape, { epsilon: 1e-5 })
      const layer = graph.node('layer-norm', `layer${C}`, { x, weight, bias }, shape, { epsilon: 1e-5 })
      outputs[`rms ${C}`] = graph.layer(`r${C}`, rms, 70)
      outputs[`layer ${C}`] = graph.layer(`l${C}`, layer, 70, { activation: 'gelu', bias: true })
    }
    graph.finish(outputs)
    expectRows(graph, type, counts)
  })
})

describe.runIf(onCuda).each(types)('in %s', (type) => {
  it('elementwise kernels and norms are right', () => {
    const graph = new HalfGraph(type)
    const x = graph.table('x', 40, 83, 4)
    const other = graph.slice('o', graph.table('wide', 40, 120, 5), 13, 83)
    const sums = graph.nodeWith(
      'rms-norm',
      { x, residual: other },
      graph.shape(x),
      { y: 'f32', sum: 'f32' },
      { epsilon: 1e-6 },
    )
    graph.finish({
      sum: graph.add('add', x, other),
      scaled: graph.scale('scale', x, 0.37),
      silu: graph.activation('silu', x, 'silu'),
      gated: graph.activation('gated', x, 'gelu', other),
      softmax: graph.softmax('softmax', x),
      normed: sums.y!,
      residual: sums.sum!,
    })
    expectRows(graph, type, [1, 3, 40])
  })
})

const shape = (heads: number, kvHeads: number, headSize: number, rest = {}): AttentionOptions => ({
  heads,
  kvHeads,
  headSize,
  ...rest,
})

const variants: AttentionOptions[] = [
  shape(2, 2, 16),
  shape(4, 1, 64),
  shape(6, 2, 24, { window: 33 }),
  shape(4, 2, 80, { slopes: [0.5, 0.25, 0.125, 0.0625] }),
  shape(8, 2, 128, { softcap: 20 }),
  shape(2, 1, 256, { window: 100 }),
  shape(20, 1, 64),
]

describe.runIf(onCuda).each(types)('attention in %s', (type) => {
  it.each(variants.map((options) => [JSON.stringify(options), options] as const))(
    'is right, and alike for any chunks and company: %s',
    (_, options) => {
      const total = 300
      const heads = randomHeads(options.headSize, total, options)
      const rounded = {
        q: roundTo(type, heads.q),
        k: roundTo(type, heads.k),
        v: roundTo(type, heads.v),
      }
      const graph = attentionGraph(rounded, options)
      const blocks = shuffledBlocks(3)
      const step = (start: number, count: number) => pagedStep([{ first: start, start, count, blocks }])
      const { exact, rounding } = new HalfReference(graph, type).run(step(0, total)).y!
      const cols = exact.length / total
      for (const isa of isas) {
        using program = graph.program({ ...halfOptions(type), isa, maxTokens: total })
        const whole = program.run(step(0, total)).y as Float32Array
        // The weights of values are rounded too, before they are multiplied.
        expect(nmse(whole, exact), isa).toBeLessThan(allowed(2 * rounding))
        for (const sizes of [
          [1, 64, 100, 1, 1, 133],
          [299, 1],
          [37, 37, 37, 37, 37, 37, 37, 41],
        ]) {
          let start = 0
          for (const count of sizes) {
            const found = program.run(step(start, count)).y as Float32Array
            const expected = rowsOf(whole, cols, count, start)
            expect(difference(found, expected), `${isa}, ${count} tokens from ${start}`).toBe('')
            start += count
          }
        }
        // Single tokens of several sequences, beside part of a prompt.
        const others = shuffledBlocks(3).reverse()
        program.run(pagedStep([{ first: 0, start: 0, count: 70, blocks: others }]))
        const mixed = pagedStep([
          { first: 299, start: 299, count: 1, blocks },
          { first: 70, start: 70, count: 40, blocks: others },
        ])
        const found = program.run(mixed).y as Float32Array
        expect(difference(rowsOf(found, cols, 1), rowsOf(whole, cols, 1, 299)), isa).toBe('')
        expect(difference(rowsOf(found, cols, 40, 1), rowsOf(whole, cols, 40, 70)), isa).toBe('')
      }
    },
  )
})
