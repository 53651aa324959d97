import { describe, expect, it } from 'vitest'
import type { Graph, Value, ValueId } from '#kvasir/graph/graph.js'
import { epilogues } from '#kvasir/graph/passes/epilogues.js'
import { lowerAttention } from '#kvasir/graph/passes/lower-attention.js'
import { mergeProjections } from '#kvasir/graph/passes/merge-projections.js'
import type { GraphBuilder } from '../graph-builder.js'
import { C, count, heads, nameOf, only, ops, start } from '../small-graphs.js'

describe('merge-projections', () => {
  interface Variation {
    biases?: [boolean, boolean, boolean]
    order?: number[]
    tiedTo?: string
    otherInput?: boolean
    weightReadElsewhere?: boolean
    keysAreValues?: boolean
  }

  function projected(variation: Variation = {}): Graph {
    const {
      biases = [true, true, true],
      order = [0, 1, 2],
      tiedTo,
      otherInput,
      weightReadElsewhere,
    } = variation
    const { b, x } = start()
    const made: ValueId[] = []
    for (const i of order) {
      const input = otherInput && i === 1 ? b.scale('', x, 2) : x
      const options = { bias: biases[i], tiedTo: i === 2 ? tiedTo : undefined }
      made[i] = b.linear(`h.0.attn.${'qkv'[i]}_proj`, input, [C, C / 2, C / 2][i], options)
      if (i === order[0]) made[3] = b.activation('', made[i], 'relu')
    }
    const [q, k, v] = made
    const options = { ...heads, kvHeads: 1 }
    const y = b.attention('h.0.attn', q, k, variation.keysAreValues ? k : v, options)
    const elsewhere = weightReadElsewhere && b.linear('again', x, C, { tiedTo: 'h.0.attn.q_proj' })
    return mergeProjections(lowerAttention(b.finish({ y, first: made[3], ...(elsewhere && { elsewhere }) })))
  }

  it('reads the input of queries, keys and values once', () => {
    for (const order of [
      [0, 1, 2],
      [2, 0, 1],
    ]) {
      const graph = projected({ order })
      expect(ops(graph)).toEqual([
        'embedding',
        'linear',
        'slice',
        'slice',
        'slice',
        'activation',
        'kv-append',
        'attention',
      ])
      const linear = only(graph, 'linear')
      expect(linear.name).toBe('h.0.attn.q_proj|k_proj|v_proj')
      expect(linear.attributes).toEqual({ activation: 'none', gated: false })
      expect(graph.values[linear.inputs.weight]).toMatchObject({
        name: 'h.0.attn.q_proj|k_proj|v_proj.weight',
        shape: [2 * C, C],
        parts: [
          { parameter: 'h.0.attn.q_proj.weight', rows: C },
          { parameter: 'h.0.attn.k_proj.weight', rows: C / 2 },
          { parameter: 'h.0.attn.v_proj.weight', rows: C / 2 },
        ],
      })
      expect(graph.values[linear.inputs.bias].shape).toEqual([2 * C])
      expect(graph.values[linear.outputs.y].shape).toEqual(['N', 2 * C])
      const slices = graph.nodes.filter((node) => node.op === 'slice')
      expect(slices.map(({ name, attributes }) => [name, attributes.start, attributes.size])).toEqual([
        ['h.0.attn.q_proj', 0, C],
        ['h.0.attn.k_proj', C, C / 2],
        ['h.0.attn.v_proj', C + C / 2, C / 2],
      ])
    }
  })

  it('names what was recorded under one name after it', () => {
    const { b, x } = start()
    const [q, k, v] = ['q', 'k', 'v'].map((name) => b.linear('attn', x, C, { tiedTo: `attn.${name}` }))
    const graph = mergeProjections(lowerAttention(b.finish({ y: b.attention('attn', q, k, v, heads) })))
    const linear = only(graph, 'linear')
    expect([linear.name, nameOf(graph, linear.inputs.weight)]).toEqual(['attn', 'attn.q|k|v.weight'])
  })

  it('merges without biases too', () => {
    expect(only(projected({ biases: [false, false, false] }), 'linear').inputs.bias).toBeUndefined()
  })

  const variations: [string, Variation][] = [
    ['one has no bias', { biases: [true, false, true] }],
    ['two have no bias', { biases: [false, true, false] }],
    ['one reads something else', { otherInput: true }],
    ['two share a weight', { tiedTo: 'h.0.attn.k_proj' }],
    ['a weight is read elsewhere', { weightReadElsewhere: true }],
    ['keys are the values', { keysAreValues: true }],
  ]

  it.each(variations)('leaves projections alone where %s', (_, variation) => {
    const graph = projected(variation)
    expect(count(graph).slice).toBeUndefined()
    expect(graph.values.every((value) => (value.parts?.length ?? 1) === 1)).toBe(true)
  })

  it.each([
    ['activation', (b: GraphBuilder, v: ValueId) => b.activation('', v, 'relu')],
    ['residual', (b: GraphBuilder, v: ValueId, x: ValueId) => b.add('', v, x)],
  ])('leaves projections alone where one has an %s', (_, finish) => {
    const { b, x } = start()
    const [q, k, v] = ['q', 'k', 'v'].map((name) => b.linear(name, x, C))
    const y = b.attention('attn', q, k, finish(b, v, x), heads)
    const graph = mergeProjections(epilogues(lowerAttention(b.finish({ y }))))
    expect(ops(graph)).toEqual(['embedding', 'linear', 'linear', 'linear', 'kv-append', 'attention'])
  })

  function gatedUnit(
    { bias = true, upBias = true, kind = 'silu' } = {},
    more?: (b: GraphBuilder, gate: ValueId) => ValueId,
  ) {
    const { b, x } = start()
    const gate = b.linear('mlp.gate_proj', x, 24, { bias })
    const up = b.linear('mlp.up_proj', x, 24, { bias: upBias })
    const y = b.activation('mlp', gate, kind, up)
    const extra = more?.(b, gate)
    return mergeProjections(b.finish(extra === undefined ? { y } : { y, extra }))
  }

  it('merges gate and up, with the activation that joins them', () => {
    const graph = gatedUnit({ kind: 'gelu' })
    expect(ops(graph)).toEqual(['embedding', 'linear'])
    const linear = only(graph, 'linear')
    expect(linear).toMatchObject({
      name: 'mlp.gate_proj|up_proj',
      attributes: { activation: 'gelu', gated: true },
    })
    expect(graph.values[linear.inputs.weight]).toMatchObject({
      interleaved: true,
      shape: [48, C],
      parts: [
        { parameter: 'mlp.gate_proj.weight', rows: 24 },
        { parameter: 'mlp.up_proj.weight', rows: 24 },
      ],
    })
    const bias: Value = graph.values[linear.inputs.bias]
    expect(bias.parts!.map((part) => part.parameter)).toEqual(['mlp.gate_proj.bias', 'mlp.up_proj.bias'])
    expect(bias.interleaved).toBeUndefined()
  })

  it('leaves a gated unit alone where one has no bias or is read elsewhere', () => {
    expect(ops(gatedUnit({ upBias: false }))).toEqual(['embedding', 'linear', 'linear', 'activation'])
    expect(ops(gatedUnit({}, (_, gate) => gate))).toEqual(['embedding', 'linear', 'linear', 'activation'])
    const { b, x } = start()
    const gate = b.linear('gate', x, C)
    const graph = mergeProjections(b.finish({ y: b.activation('', gate, 'silu', gate) }))
    expect(ops(graph)).toEqual(['embedding', 'linear', 'activation'])
  })
})
