import { describe, expect, it } from 'vitest'
import { lowerAttention } from '#kvasir/graph/passes/lower-attention.js'
import { heads, ops, sourceOf, start } from '../small-graphs.js'

describe('lower-attention', () => {
  it('gives keys and values to a kv-append of the same layer', () => {
    const { b, x } = start()
    const y = b.attention('attn', x, b.scale('k', x, 2), b.scale('v', x, 3), { ...heads, window: 7 })
    const graph = lowerAttention(b.finish({ y }))
    expect(ops(graph)).toEqual(['embedding', 'scale', 'scale', 'kv-append', 'attention'])
    const [append, attention] = graph.nodes.slice(3)
    expect(append.attributes).toEqual({ layer: 0, kvHeads: 2, headSize: 4 })
    expect([sourceOf(graph, append, 'k'), sourceOf(graph, append, 'v')]).toEqual(['k', 'v'])
    expect(Object.keys(append.inputs)).toEqual(['k', 'v', 'queryStarts', 'contextLengths', 'blockTables'])
    expect(Object.keys(attention.inputs)).toEqual(['q', 'queryStarts', 'contextLengths', 'blockTables'])
    expect(attention.attributes).toMatchObject({ layer: 0, window: 7, heads: 2 })
    expect(lowerAttention(graph)).toEqual(graph)
  })
})
