import { describe, expect, it } from 'vitest'
import type { DType, Graph, Node, Value, ValueId } from '#kvasir/graph/graph.js'
import { Interpreter } from '#kvasir/graph/interpreter.js'
import { deadCode } from '#kvasir/graph/passes/dead-code.js'
import { epilogues } from '#kvasir/graph/passes/epilogues.js'
import { optimize, withProbabilities, withSampling } from '#kvasir/graph/passes/index.js'
import { layout } from '#kvasir/graph/passes/layout.js'
import { lowerAttention } from '#kvasir/graph/passes/lower-attention.js'
import { mergeProjections } from '#kvasir/graph/passes/merge-projections.js'
import { residualNorm } from '#kvasir/graph/passes/residual-norm.js'
import { ropeAppend } from '#kvasir/graph/passes/rope-append.js'
import { recordGpt2, recordLlama } from './families.js'
import { GraphBuilder, randomWeights } from './graph-builder.js'
import { Sequences } from './steps.js'

const C = 8
const heads = { heads: 2, kvHeads: 2, headSize: 4 }

/** A builder with one (N,8) result to start from. */
function start(): { b: GraphBuilder; x: ValueId } {
  const b = new GraphBuilder()
  return { b, x: b.embedding('wte', b.input('tokens'), b.weight('wte.weight', [5, C])) }
}

const ops = (graph: Graph) => graph.nodes.map((node) => node.op)

const only = (graph: Graph, op: string): Node => {
  const nodes = graph.nodes.filter((node) => node.op === op)
  expect(nodes).toHaveLength(1)
  return nodes[0]
}

const nameOf = (graph: Graph, id: ValueId) => graph.values[id].name

/** The module path of what makes a node's input. */
const sourceOf = (graph: Graph, node: Node, input: string) =>
  graph.nodes.find(({ outputs }) => Object.values(outputs).includes(node.inputs[input]))?.name

function count(graph: Graph): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const { op } of graph.nodes) counts[op] = (counts[op] ?? 0) + 1
  return counts
}

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

describe('residual-norm', () => {
  it.each(['layerNorm', 'rmsNorm'] as const)('%s adds, and keeps a sum that is read', (norm) => {
    const { b, x } = start()
    const sum = b.add('sum', x, b.scale('twice', x, 2))
    const between = b.scale('between', sum, 3)
    const y = b[norm]('norm', sum)
    const graph = residualNorm(b.finish({ between, y }))
    expect(ops(graph)).toEqual([
      'embedding',
      'scale',
      norm === 'rmsNorm' ? 'rms-norm' : 'layer-norm',
      'scale',
    ])
    const fused = graph.nodes[2]
    expect([sourceOf(graph, fused, 'x'), sourceOf(graph, fused, 'residual')]).toEqual(['wte', 'twice'])
    expect(graph.nodes[3].inputs.x).toBe(fused.outputs.sum)
    expect(Object.keys(fused.inputs).slice(0, 3)).toEqual(['x', 'residual', 'weight'])
  })

  it('gives no sum where nothing else reads it', () => {
    const { b, x } = start()
    const graph = residualNorm(b.finish({ y: b.layerNorm('norm', b.add('', x, x)) }))
    expect(only(graph, 'layer-norm').outputs.sum).toBeUndefined()
  })

  it('adds in the first of two norms, and keeps a sum that is an output', () => {
    const { b, x } = start()
    const sum = b.add('', x, b.scale('', x, 2))
    const graph = residualNorm(b.finish({ first: b.layerNorm('a', sum), second: b.rmsNorm('b', sum), sum }))
    expect(ops(graph)).toEqual(['embedding', 'scale', 'layer-norm', 'rms-norm'])
    expect(graph.outputs.sum).toBe(graph.nodes[2].outputs.sum)
    expect(graph.nodes[3].inputs).toMatchObject({ x: graph.outputs.sum })
    expect(residualNorm(graph)).toEqual(graph)
  })
})

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

describe('layout', () => {
  function weights(options: Parameters<typeof layout>[1]): Record<string, string> {
    const { b, x } = start()
    const positions = b.embedding('wpe', b.input('positions'), b.weight('wpe.weight', [9, C]))
    const y = b.linear('fc', b.layerNorm('ln', b.add('', x, positions)), C, { bias: true })
    const graph = layout(b.finish({ y, logits: b.linear('head', y, 5, { tiedTo: 'wte' }) }), options)
    const named = graph.values.filter((value) => value.kind === 'weight')
    return Object.fromEntries(named.map(({ name, layout, dtype }) => [name, `${dtype} ${layout}`]))
  }

  it('puts into panels what a linear reads, and gives matrices the dtype', () => {
    expect(weights({ dtype: 'f16' })).toEqual({
      'wte.weight': 'f16 panels',
      'wpe.weight': 'f16 rows',
      'ln.weight': 'f32 rows',
      'ln.bias': 'f32 rows',
      'fc.weight': 'f16 panels',
      'fc.bias': 'f32 rows',
    })
  })

  it('keeps what the checkpoint holds', () => {
    const stored: Record<string, DType> = { 'wte.weight': 'bf16', 'fc.weight': 'f16', 'ln.weight': 'bf16' }
    expect(weights({ storedTypes: (parameter) => stored[parameter] ?? 'f32' })).toMatchObject({
      'wte.weight': 'bf16 panels',
      'wpe.weight': 'f32 rows',
      'ln.weight': 'f32 rows',
      'fc.weight': 'f16 panels',
    })
    expect(weights({})).toMatchObject({ 'wte.weight': 'f32 panels' })
  })

  it('takes f32 where merged parts are stored differently', () => {
    const storedTypes = (parameter: string): DType => (parameter.includes('gate') ? 'f16' : 'bf16')
    const graph = optimize(recordLlama({ numLayers: 1 }), { storedTypes })
    const dtypes = Object.fromEntries(graph.values.map(({ name, dtype }) => [name, dtype]))
    expect(dtypes['layers.0.mlp.gate_proj|up_proj.weight']).toBe('f32')
    expect(dtypes['layers.0.self_attn.q_proj|k_proj|v_proj.weight']).toBe('bf16')
  })
})

describe('tail passes', () => {
  const steps = new Sequences(1, 50)
  const step = steps.step([4, 3])
  const graph = recordGpt2({ numLayers: 1 })
  const weights = randomWeights(graph, 1)
  const run = (form: Graph) => new Interpreter(form, { weights }).run(step)

  it('withProbabilities gives the softmax of the logits', () => {
    const form = withProbabilities(graph)
    expect(form.nodes.at(-1)!.op).toBe('softmax')
    const { probabilities, ...others } = run(form)
    expect(others).toEqual({})
    const { logits } = run(graph)
    const row = logits.slice(0, 50).map(Math.exp)
    const total = row.reduce((sum, number) => sum + number, 0)
    row.forEach((number, id) => {
      expect(probabilities[id]).toBeCloseTo(number / total, 14)
    })
  })

  it('withSampling takes the sampling tables and gives ids and log probabilities', () => {
    const form = optimize(withSampling(graph))
    expect(Object.keys(form.outputs)).toEqual(['ids', 'logprobs'])
    const inputs = form.values.filter((value) => value.kind === 'input').map((value) => value.name)
    expect(inputs).toEqual(expect.arrayContaining(['temperature', 'topK', 'topP', 'minP', 'seed', 'counter']))
    const { ids, logprobs } = run(form)
    const { logits } = run(graph)
    expect(ids).toHaveLength(7)
    ids.forEach((id, r) => {
      const row = logits.slice(r * 50, (r + 1) * 50)
      const total = row.reduce((sum, number) => sum + Math.exp(number), 0)
      expect(logprobs[r]).toBeCloseTo(row[id] - Math.log(total), 12)
      if (step.temperature[r] === 0) expect(row[id]).toBe(Math.max(...row))
    })
  })

  it('keeps other outputs, and inputs that are there already', () => {
    const b = new GraphBuilder()
    const temperature = b.input('temperature')
    const x = b.embedding('wte', b.input('tokens'), b.weight('wte.weight', [5, C]))
    const form = withSampling(b.finish({ logits: b.gatherRows('', x), x, temperature }))
    expect(Object.keys(form.outputs)).toEqual(['x', 'temperature', 'ids', 'logprobs'])
    expect(form.values.filter((value) => value.name === 'temperature')).toHaveLength(1)
    expect(only(form, 'sample').inputs.temperature).toBe(form.outputs.temperature)
  })

  it('wants logits (R, V)', () => {
    const { b, x } = start()
    const wrong = b.finish({ logits: x })
    expect(() => withSampling(wrong)).toThrow('graph: logits must be (R, V), got (N, 8)')
    const none = { ...wrong, outputs: { hidden: x } }
    expect(() => withProbabilities(none)).toThrow(
      'graph: outputs must be named logits among others, got "hidden"',
    )
  })
})

describe('optimize', () => {
  it('fuses a LLaMA to its least', () => {
    const graph = optimize(recordLlama({ numLayers: 3 }))
    expect(count(graph)).toEqual({
      embedding: 1,
      'rope-table': 1,
      linear: 3 * 4 + 1, // q|k|v, o + residual, gate|up, down + residual; head
      slice: 3 * 3,
      'kv-append': 3,
      attention: 3,
      'rms-norm': 3 * 2 + 1,
      'gather-rows': 1,
    })
    const linears = graph.nodes.filter((node) => node.op === 'linear')
    expect(linears.filter((node) => node.inputs.residual !== undefined)).toHaveLength(6)
    expect(linears.filter((node) => node.attributes.gated)).toHaveLength(3)
    expect(graph.nodes.filter((node) => node.inputs.table !== undefined)).toHaveLength(3)
  })

  it('fuses a GPT-2 to its least', () => {
    const graph = optimize(recordGpt2({ numLayers: 3 }))
    expect(count(graph)).toEqual({
      embedding: 2,
      linear: 3 * 4 + 1, // c_attn, c_proj + residual, c_fc + activation, c_proj + residual; head
      slice: 3 * 3,
      'kv-append': 3,
      attention: 3,
      'layer-norm': 3 * 2 + 1, // the first adds tokens and positions
      'gather-rows': 1,
    })
    expect(graph.nodes.filter((node) => node.outputs.sum !== undefined).map((node) => node.name)).toEqual([
      'h.0.ln_1',
    ])
    expect(graph.nodes.filter((node) => node.attributes.activation === 'gelu-tanh')).toHaveLength(3)
  })

  it('handles a hundred layers in a moment, and leaves its argument alone', () => {
    const recorded = recordLlama({ numLayers: 100 })
    const before = structuredClone(recorded)
    expect(optimize(recorded).nodes).toHaveLength(100 * 11 + 5)
    expect(recorded).toEqual(before)
  })
})
