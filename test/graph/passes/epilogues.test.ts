import { describe, expect, it } from 'vitest'
import type { ValueId } from '#kvasir/graph/graph.js'
import { epilogues } from '#kvasir/graph/passes/epilogues.js'
import type { GraphBuilder } from '../graph-builder.js'
import { C, nameOf, only, ops, sourceOf, start } from '../small-graphs.js'

describe('epilogues', () => {
  it('takes an activation, then a residual, from either side', () => {
    for (const swapped of [false, true]) {
      const { b, x } = start()
      const y = b.activation('act', b.linear('fc', x, C), 'gelu')
      const graph = epilogues(b.finish({ y: swapped ? b.add('sum', y, x) : b.add('sum', x, y) }))
      expect(ops(graph)).toEqual(['embedding', 'linear'])
      const linear = only(graph, 'linear')
      expect(linear).toMatchObject({ name: 'fc', attributes: { activation: 'gelu', gated: false } })
      expect(sourceOf(graph, linear, 'residual')).toBe('wte')
      expect(nameOf(graph, linear.outputs.y)).toBe('sum')
    }
  })

  it('waits for a residual that is computed later', () => {
    const { b, x } = start()
    const first = b.linear('first', x, C)
    const graph = epilogues(b.finish({ y: b.add('', first, b.scale('later', x, 2)) }))
    expect(ops(graph)).toEqual(['embedding', 'scale', 'linear'])
  })

  it('gives each of two linears its sum', () => {
    const { b, x } = start()
    const inner = b.add('', x, b.linear('attn', x, C))
    const graph = epilogues(b.finish({ y: b.add('', inner, b.linear('mlp', x, C)) }))
    expect(ops(graph)).toEqual(['embedding', 'linear', 'linear'])
    expect(sourceOf(graph, graph.nodes[2], 'residual')).toBe('attn')
  })

  const alone: [string, (b: GraphBuilder, x: ValueId, y: ValueId) => ValueId][] = [
    ['an activation after the sum', (b, x, y) => b.activation('', b.add('', x, b.add('', y, y)), 'relu')],
    ['an addition to itself', (b, _, y) => b.add('', y, y)],
    ['a result that is activated and added', (b, _, y) => b.add('', y, b.activation('', y, 'relu'))],
    ['a gate of something else', (b, x, y) => b.activation('', y, 'silu', x)],
  ]

  it.each(alone)('leaves %s', (_, more) => {
    const { b, x } = start()
    const graph = b.finish({ out: more(b, x, b.linear('fc', x, C)) })
    expect(ops(epilogues(graph))).toEqual(ops(graph))
  })

  it('takes one activation and one residual only', () => {
    const { b, x } = start()
    const twice = b.activation('', b.activation('', b.linear('fc', x, C), 'relu'), 'gelu')
    const sum = b.add('', x, b.add('', x, b.linear('other', x, C)))
    const graph = epilogues(
      b.finish({ twice, sum, after: b.activation('', b.add('', x, b.linear('third', x, C)), 'relu') }),
    )
    expect(ops(graph)).toEqual(['embedding', 'linear', 'activation', 'linear', 'add', 'linear', 'activation'])
    expect(graph.nodes[1].attributes.activation).toBe('relu')
  })

  it('leaves a gated product to what follows it', () => {
    const { b, x } = start()
    const attributes = { activation: 'none', gated: true }
    const gated = b.node(
      'linear',
      'glu',
      { x, weight: b.weight('glu.weight', [2 * C, C]) },
      ['N', C],
      attributes,
    )
    const graph = epilogues(b.finish({ y: b.activation('', gated, 'relu') }))
    expect(ops(graph)).toEqual(['embedding', 'linear', 'activation'])
  })

  it('leaves a result that is an output', () => {
    const { b, x } = start()
    const y = b.linear('fc', x, C)
    expect(ops(epilogues(b.finish({ y, sum: b.add('', x, y) })))).toEqual(['embedding', 'linear', 'add'])
  })
})
