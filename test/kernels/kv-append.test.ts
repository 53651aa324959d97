import { describe, expect, it } from 'vitest'
import type { ValueId } from '#kvasir/graph/graph.js'
import { pagedStep, shuffledBlocks } from './attention-graph.js'
import { KernelGraph } from './kernel-graph.js'
import { caches, isas, threadCounts } from './native-program.js'
import { difference, extremes, nmse, randomNumbers, roundToCache } from './numbers.js'

const cacheTypes = caches

// Attention reads the cache back: a slope so steep that one position outweighs all others makes its result that
// position's value.
describe.each(cacheTypes)('kv-append, values in %s', (cacheDtype) => {
  /** Gives the value of the oldest position that a window of `window` shows, for each token and head. */
  function oldestValue(v: Float32Array, kvHeads: number, headSize: number, window: number): KernelGraph {
    const graph = new KernelGraph()
    const columns = kvHeads * headSize
    const zeros = graph.activations('zeros', columns, new Float32Array(v.length))
    const options = { heads: kvHeads, kvHeads, headSize, window, slopes: new Array(kvHeads).fill(-1e4) }
    graph.finish({ y: graph.attention('', zeros, zeros, graph.activations('v', columns, v), options) })
    return graph
  }

  it.each([
    [1, 1],
    [2, 8],
    [3, 17],
    [1, 31],
    [2, 40],
    [5, 64],
    [1, 256],
  ])('keeps %i heads of %i in random blocks', (kvHeads, headSize) => {
    const [columns, total] = [kvHeads * headSize, 150]
    const v = randomNumbers(headSize, total * columns, 1e3)
    const stored = roundToCache(cacheDtype, v, headSize)
    for (const window of [1, 2, 33, 200]) {
      const graph = oldestValue(v, kvHeads, headSize, window)
      for (const [program, isa] of graph.programs({ cacheDtype, threads: 3, maxTokens: total })) {
        for (const counts of [[total], [1, 31, 1, 32, 85], [33, 1, 1, 64, 51]]) {
          const blocks = shuffledBlocks(counts[0])
          let start = 0
          for (const count of counts) {
            const { y } = program.run(pagedStep([{ first: start, start, count, blocks }]))
            const oldest = (n: number) => Math.max(0, start + n - window + 1)
            const expected = Array.from({ length: count * columns }, (_, i) => {
              return stored[oldest(Math.floor(i / columns)) * columns + (i % columns)]
            })
            expect(difference(y, expected), `${isa}, window ${window}, ${count} from ${start}`).toBe('')
            start += count
          }
        }
      }
    }
  })

  it.skipIf(cacheDtype === 'q8')('keeps extreme numbers, rounded to the nearest', () => {
    const ties = [
      1 + 2 ** -8,
      1 + 3 * 2 ** -8,
      -1 - 2 ** -8,
      1.9999999,
      3.4e38,
      3.38e38,
      1e-40,
      9.2e-41,
      4.6e-41,
    ]
    const v = Float32Array.from([...extremes, ...ties])
    const graph = oldestValue(v, 1, v.length, 1)
    for (const [program, isa] of graph.programs({ cacheDtype })) {
      const { y } = program.run(pagedStep([{ first: 0, start: 0, count: 1, blocks: [3] }]))
      // Above the largest bf16 comes infinity; a sum that begins with 0 is 0, not -0.
      const rounded = roundToCache(cacheDtype, v, v.length).map((x) =>
        cacheDtype === 'bf16' && Math.abs(x) > 3.3961775e38 ? x * 2 : x,
      )
      expect(
        difference(
          y,
          rounded.map((x) => x + 0),
        ),
        isa,
      ).toBe('')
    }
  })

  it('writes what a step says and nothing beside it', () => {
    // Eight sequences in neighbouring blocks; each then reads its own.
    const [columns, length] = [2 * 24, 41]
    const v = randomNumbers(5, 8 * 64 * columns)
    const stored = roundToCache(cacheDtype, v, 24)
    const graph = oldestValue(v, 2, 24, length)
    for (const [program, isa] of graph.programs({
      cacheDtype,
      threads: 2,
      numBlocks: 16,
      maxTokens: 8 * 41,
    })) {
      const blocks = shuffledBlocks(6, 16)
      const of = (s: number, start: number, count: number) => {
        return { first: 64 * s + start, start, count, blocks: [blocks[2 * s], blocks[2 * s + 1]] }
      }
      const all = [0, 1, 2, 3, 4, 5, 6, 7]
      program.run(pagedStep(all.map((s) => of(s, 0, length - 1))))
      for (const s of [5, 0, 7, 2]) program.run(pagedStep([of(s, length - 1, 1)]))
      program.run(pagedStep([1, 3, 4, 6].map((s) => of(s, length - 1, 1))))
      for (let token = length; token < 60; token++) {
        const { y } = program.run(pagedStep(all.map((s) => of(s, token, 1))))
        const expected = all.flatMap((s) => {
          const row = (64 * s + token - length + 1) * columns
          return [...stored.subarray(row, row + columns)]
        })
        expect(difference(y, expected), `${isa}, token ${token}`).toBe('')
      }
    }
  })
})

interface Rotation {
  heads: number
  kvHeads: number
  headSize: number
  pairs: number
  interleaved: boolean
}

const rotations: Rotation[] = [
  [2, 2, 16, 8],
  [4, 2, 24, 5],
  [6, 1, 17, 8],
  [3, 3, 64, 32],
  [8, 2, 80, 33],
  [1, 1, 2, 1],
  [2, 1, 256, 128],
].flatMap(([heads, kvHeads, headSize, pairs]) =>
  [false, true].map((interleaved) => ({ heads, kvHeads, headSize, pairs, interleaved })),
)

/** Rotary attention of columns of one matrix. `apart` keeps the rotations from being fused with the append. */
function rotaryGraph(
  { heads, kvHeads, headSize, pairs, interleaved }: Rotation,
  whole: Float32Array,
  apart: boolean,
) {
  const graph = new KernelGraph()
  const [queries, keys] = [heads * headSize, kvHeads * headSize]
  const matrix = graph.activations('qkv', queries + 2 * keys, whole)
  const slice = (start: number, size: number) => graph.slice('slice', matrix, start, size)
  const [q, k, v] = [slice(0, queries), slice(queries, keys), slice(queries + keys, keys)]
  const table = graph.ropeTable(
    'rotary',
    Array.from({ length: pairs }, (_, i) => 500 ** (-i / pairs)),
    1.1,
  )
  const [turnedQ, turnedK] = [
    graph.rope('q', q, table, heads, interleaved),
    graph.rope('k', k, table, kvHeads, interleaved),
  ]
  const outputs: Record<string, ValueId> = { q: turnedQ }
  if (apart) outputs.k = turnedK
  graph.finish({ y: graph.attention('', turnedQ, turnedK, v, { heads, kvHeads, headSize }), ...outputs })
  return graph
}

const named = rotations.map((rotation) => {
  const { heads, kvHeads, headSize, pairs, interleaved } = rotation
  const layout = interleaved ? 'interleaved' : 'half-split'
  return [`${heads} of ${kvHeads} x ${headSize}, ${pairs} ${layout} pairs`, rotation] as const
})

describe('kv-append with rotation', () => {
  it.each(named)('has the bits of rope before it, %s', (_, rotation) => {
    const { heads, kvHeads, headSize } = rotation
    const whole = randomNumbers(headSize, 130 * (heads + 2 * kvHeads) * headSize)
    const apart = rotaryGraph(rotation, whole, true)
    // Read as an output too, the rotated queries could not be made in place; so they are not asked for here.
    const fused = rotaryGraph(rotation, whole, false)
    delete fused.graph.outputs.q
    const truth = apart.interpreter()
    const blocks = [shuffledBlocks(1), shuffledBlocks(1).reverse()]
    const steps = [
      pagedStep([{ first: 0, start: 0, count: 70, blocks: blocks[0] }]),
      pagedStep([
        { first: 70, start: 70, count: 1, blocks: blocks[0] },
        { first: 71, start: 0, count: 40, blocks: blocks[1] },
      ]),
    ]
    const expected = steps.map((step) => truth.run(step).y)
    for (const isa of isas) {
      for (const cacheDtype of cacheTypes) {
        for (const threads of threadCounts(1, 3)) {
          const options = { isa, cacheDtype, threads, maxTokens: 70 }
          using separate = apart.program(options)
          using together = fused.program(options)
          expect(separate.graph.nodes.filter((node) => node.op === 'rope')).toHaveLength(2)
          expect(together.graph.nodes.some((node) => node.op === 'rope')).toBe(false)
          steps.forEach((step, i) => {
            const [a, b] = [separate.run(step).y, together.run(step).y]
            expect(difference(b, a), `${isa}, ${cacheDtype}, ${threads} threads, step ${i}`).toBe('')
            if (cacheDtype === 'f32') expect(nmse(b, expected[i]), `${isa}, step ${i}`).toBeLessThan(1e-12)
          })
        }
      }
    }
  })

  it('rotates queries in place and leaves their neighbours', () => {
    // The queries' rotation is given out; k and v stand beside them in the same rows.
    for (const [name, rotation] of named) {
      const { heads, kvHeads, headSize } = rotation
      const whole = randomNumbers(3, 40 * (heads + 2 * kvHeads) * headSize)
      const [apart, fused] = [true, false].map((separate) => rotaryGraph(rotation, whole, separate))
      const step = pagedStep([{ first: 0, start: 0, count: 40, blocks: shuffledBlocks(1) }])
      for (const [program, isa] of fused.programs({ threads: 2, maxTokens: 40 })) {
        using other = apart.program({ isa, maxTokens: 40 })
        expect(difference(program.run(step).q, other.run(step).q), `${isa}, ${name}`).toBe('')
      }
    }
  })
})
