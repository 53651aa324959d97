import { describe, expect, it } from 'vitest'
import { deadCode } from '#kvasir/graph/passes/dead-code.js'
import { lowerAttention } from '#kvasir/graph/passes/lower-attention.js'
import { residualNorm } from '#kvasir/graph/passes/residual-norm.js'
import { C, heads, only, ops, start } from '../small-graphs.js'

describe('dead-code', () => {
  it('drops what no output needs, with its inputs and weights', () => {
    const { b, x } = start()
    b.attention('unread', b.linear('q', x, C), x, x, heads)
    const graph = deadCode(lowerAttention(b.finish({ y: b.attention('read', x, x, x, heads) })))
    expect(ops(graph)).toEqual(['embedding', 'kv-append', 'attention'])
    expect(graph.nodes.slice(1).map((node) => node.attributes.layer)).toEqual([1, 1])
    expect(graph.values.map((value) => value.name)).not.toContain('q.weight')
    expect(graph.values.map((value) => value.id)).toEqual(graph.values.map((_, i) => i))
  })

  it('drops a sum that is not read', () => {
    const { b, x } = start()
    const sum = b.add('', x, x)
    const graph = residualNorm(b.finish({ y: b.rmsNorm('', sum), sum }))
    const trimmed = deadCode({ ...graph, outputs: { y: graph.outputs.y } })
    expect(Object.keys(only(trimmed, 'rms-norm').outputs)).toEqual(['y'])
  })
})
