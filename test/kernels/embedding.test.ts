import { describe, expect, it } from 'vitest'
import { Random } from '../graph/random.js'
import { columnCounts, KernelGraph, rowCounts } from './kernel-graph.js'
import { onCuda } from './native-program.js'
import type { BlockType, WeightType } from './numbers.js'
import { difference, extremes, randomNumbers, roundTo, roundToBlocks } from './numbers.js'

const types: WeightType[] = ['f32', 'f16', 'bf16']
const blockTypes: BlockType[] = ['q8', 'q4']
const layouts = ['rows', onCuda ? 'tiles' : 'panels']
const V = 70

/** An embedding whose table a linear layer shares where it is to lie as matrices do. */
function embeddingGraph(C: number, layout: string, table: Float32Array): KernelGraph {
  const graph = new KernelGraph()
  const weight = graph.parameter('wte.weight', [table.length / C, C], table)
  const y = graph.embedding('wte', graph.input('tokens'), weight)
  const outputs: Record<string, number> =
    layout !== 'rows' ? { logits: graph.linear('head', y, table.length / C, { tiedTo: 'wte' }) } : {}
  graph.finish({ y, ...outputs })
  return graph
}

const cases = types.flatMap((type) => layouts.map((layout) => ({ type, layout })))

describe.each(cases)('embedding from $layout of $type', ({ type, layout }) => {
  it.each(columnCounts)('copies rows of %i columns', (C) => {
    const table = roundTo(type, randomNumbers(C, V * C))
    const graph = embeddingGraph(C, layout, table)
    for (const [program, isa] of graph.programs({ dtype: type, threads: 3, maxTokens: 133 })) {
      expect(program.graph.values.find(({ name }) => name === 'wte.weight')).toMatchObject({
        layout,
        dtype: type,
      })
      const random = new Random(C)
      for (const N of rowCounts.filter((count) => count <= 133)) {
        const tokens = Int32Array.from({ length: N }, () => random.pick([0, V - 1, random.integer(0, V - 1)]))
        const expected = Array.from(tokens, (id) => [...table.subarray(id * C, (id + 1) * C)]).flat()
        expect(difference(program.run({ tokens }).y, expected), `${isa}, ${N} rows`).toBe('')
      }
    }
  })

  it('keeps extreme numbers', () => {
    // Those of f32 that the type holds, and its own subnormals.
    const numbers = [...extremes, 5.9604645e-8, -6.097555e-5, 9.1835e-41, -1.1663108e-38]
    const most = { f32: Infinity, f16: 65504, bf16: 3.3895313e38 }[type]
    const kept = roundTo(
      type,
      numbers.filter((x) => !Number.isFinite(x) || Math.abs(x) <= most),
    )
    const graph = embeddingGraph(kept.length, layout, kept)
    for (const [program, isa] of graph.programs({ dtype: type })) {
      expect(difference(program.run({ tokens: Int32Array.of(0) }).y, kept), isa).toBe('')
    }
  })
})

const blockCases = blockTypes.flatMap((type) => layouts.map((layout) => ({ type, layout })))

describe.each(blockCases)('embedding from $layout of $type', ({ type, layout }) => {
  it.each(columnCounts)('dequantises rows of %i columns', (C) => {
    const table = roundToBlocks(type, randomNumbers(C, V * C), C)
    const graph = embeddingGraph(C, layout, table)
    for (const [program, isa] of graph.programs({ storedTypes: () => type, threads: 3, maxTokens: 133 })) {
      expect(program.graph.values.find(({ name }) => name === 'wte.weight')).toMatchObject({
        layout,
        dtype: type,
      })
      const tokens = Int32Array.from({ length: 133 }, (_, n) => (n * 37) % V)
      const expected = Array.from(tokens, (id) => [...table.subarray(id * C, (id + 1) * C)]).flat()
      expect(difference(program.run({ tokens }).y, expected), isa).toBe('')
    }
  })
})

describe('embedding', () => {
  it('rounds numbers that its type does not hold to the nearest, ties to even', () => {
    const numbers = randomNumbers(7, 1000, 3)
    // Halfway between two f16 and between two bf16, the even one below and above.
    numbers.set([1 + 2 ** -11, 1 + 3 * 2 ** -11, 1 + 2 ** -8, 1 + 3 * 2 ** -8, 2 ** -25, 3 * 2 ** -25])
    for (const type of types) {
      const graph = embeddingGraph(1000, 'rows', numbers)
      for (const [program, isa] of graph.programs({ dtype: type })) {
        const { y } = program.run({ tokens: Int32Array.of(0) })
        expect(difference(y, roundTo(type, numbers)), `${isa}, ${type}`).toBe('')
      }
    }
  })

  it.each([1, 2, 3])('shares many rows among %i threads', (threads) => {
    const table = randomNumbers(9, V * 900)
    const graph = embeddingGraph(900, 'rows', table)
    const tokens = Int32Array.from({ length: 60 }, (_, n) => (n * 37) % V)
    const expected = Array.from(tokens, (id) => [...table.subarray(id * 900, (id + 1) * 900)]).flat()
    for (const [program, isa] of graph.programs({ threads, maxTokens: 60 })) {
      expect(difference(program.run({ tokens }).y, expected), isa).toBe('')
    }
  })
})
