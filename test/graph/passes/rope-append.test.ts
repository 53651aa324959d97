import { describe, expect, it } from 'vitest'
import type { Graph, ValueId } from '#kvasir/graph/graph.js'
import { lowerAttention } from '#kvasir/graph/passes/lower-attention.js'
import { ropeAppend } from '#kvasir/graph/passes/rope-append.js'
import type { GraphBuilder } from '../graph-builder.js'
import { C, count, heads, only, ops, sourceOf, start } from '../small-graphs.js'

describe('rope-append', () => {
  interface Variation {
    /** Records more readers; what it gives back is an output. */
    more?: (b: GraphBuilder, named: { q: ValueId; rotatedQ: ValueId; rotatedK: ValueId }) => ValueId
    tableOfK?: number[]
    interleavedK?: boolean
    headsOfQ?: number
    headsOfK?: number
  }

  function rotated({ more, tableOfK, interleavedK = false, headsOfQ = 2, headsOfK = 2 }: Variation): Graph {
    const { b, x } = start()
    const [q, k] = [b.linear('q', x, C), b.linear('k', x, C)]
    const table = b.ropeTable('rotary', [1, 0.1])
    const rotatedQ = b.rope('rope.q', q, table, headsOfQ)
    const rotatedK = b.rope(
      'rope.k',
      k,
      tableOfK ? b.ropeTable('other', tableOfK) : table,
      headsOfK,
      interleavedK,
    )
    const y = b.attention('attn', rotatedQ, rotatedK, x, heads)
    const extra = more?.(b, { q, rotatedQ, rotatedK })
    return ropeAppend(lowerAttention(b.finish(extra === undefined ? { y } : { y, extra })))
  }

  it('rotates keys and queries on the way into the cache', () => {
    const graph = rotated({})
    expect(ops(graph)).toEqual(['embedding', 'linear', 'linear', 'rope-table', 'kv-append', 'attention'])
    const append = only(graph, 'kv-append')
    expect(append.attributes).toEqual({ layer: 0, kvHeads: 2, headSize: 4, heads: 2, interleaved: false })
    expect(['q', 'k', 'table'].map((input) => sourceOf(graph, append, input))).toEqual(['q', 'k', 'rotary'])
    expect(only(graph, 'attention').inputs.q).toBe(append.outputs.q)
  })

  const variations: [string, Variation][] = [
    ['the rotated queries are read elsewhere', { more: (b, { rotatedQ }) => b.scale('', rotatedQ, 2) }],
    ['the rotated keys are read elsewhere', { more: (b, { rotatedK }) => b.scale('', rotatedK, 2) }],
    ['the rotated keys are an output', { more: (_, { rotatedK }) => rotatedK }],
    ['the queries before rotation are read elsewhere', { more: (b, { q }) => b.scale('', q, 2) }],
    ['the queries before rotation are an output', { more: (_, { q }) => q }],
    ['a part of them is read', { more: (b, { q }) => b.slice('', q, 3, 2) }],
    ['keys have another table', { tableOfK: [0.5, 0.1] }],
    ['keys are interleaved otherwise', { interleavedK: true }],
    ['the heads rotated are not the ones attended with', { headsOfQ: 1 }],
    ['the heads of keys rotated are others', { headsOfK: 1 }],
  ]

  it.each(variations)('leaves ropes alone where %s', (_, variation) => {
    const graph = rotated(variation)
    expect(count(graph)).toMatchObject({ rope: 2, 'kv-append': 1 })
    expect(only(graph, 'kv-append').inputs.table).toBeUndefined()
  })

  function ofSlices(starts: number[], more?: (b: GraphBuilder, whole: ValueId) => ValueId): Graph {
    const { b, x } = start()
    const whole = b.linear('qkv', x, 3 * C)
    const [q, k, v] = starts.map((from) => b.slice('', whole, from, C))
    const table = b.ropeTable('rotary', [1, 0.1])
    const y = b.attention('attn', b.rope('', q, table, 2), b.rope('', k, table, 2), v, heads)
    const extra = more?.(b, whole)
    return ropeAppend(lowerAttention(b.finish(extra === undefined ? { y } : { y, extra })))
  }

  it('rotates a slice in place where no other overlaps it', () => {
    expect(count(ofSlices([0, C, 2 * C])).rope).toBeUndefined()
    expect(count(ofSlices([C, 0, 0])).rope).toBeUndefined()
    expect(count(ofSlices([2 * C, C, 0], (b, whole) => b.slice('', whole, C, C))).rope).toBeUndefined()
  })

  it.each([
    ['keys overlap it', [0, C - 1, 2 * C], undefined],
    ['values are the same slice', [0, C, 0], undefined],
    ['the whole is read', [0, C, 2 * C], (b: GraphBuilder, whole: ValueId) => b.scale('', whole, 2)],
    ['the whole is an output', [0, C, 2 * C], (_: GraphBuilder, whole: ValueId) => whole],
    [
      'a slice of a slice overlaps it',
      [C, 0, 0],
      (b: GraphBuilder, whole: ValueId) => b.slice('', b.slice('', whole, 4, C), 4, 1),
    ],
  ])('does not where %s', (_, starts, more) => {
    expect(count(ofSlices(starts, more)).rope).toBe(2)
  })
})
