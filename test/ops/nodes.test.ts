import { describe, expect, it } from 'vitest'
import { opSet } from '#kvasir/graph/op-set.js'
import {
  add,
  adjustLogits,
  attention,
  embedding,
  experts,
  gatherRows,
  gelu,
  geluTanh,
  layerNorm,
  linear,
  relu,
  rmsNorm,
  rope,
  ropeTable,
  sample,
  scale,
  silu,
  slice,
  slidingWindow,
  softcap,
  softmax,
  split,
  Tensor,
  topLogits,
} from '#kvasir/nn/index.js'
import { matrices, Symbols } from './symbols.js'

/** Records one op and gives its node beside the shape of what it returned. */
function recorded(op: (s: Symbols) => Tensor) {
  const symbols = new Symbols()
  const { shape, dtype } = op(symbols)
  const node = symbols.graph.nodes.at(-1)!
  return { op: node.op, inputs: Object.keys(node.inputs), attributes: node.attributes, shape, dtype }
}

const x = (s: Symbols, columns = 8) => s.tensor(['N', columns])
const ids = (s: Symbols) => s.tensor(['N'], 'i32')
const frequencies = [1, 0.1]

const ops: [name: string, record: (s: Symbols) => Tensor, expected: object][] = [
  ['embedding', (s) => embedding(ids(s), s.parameter(9, 8)), { inputs: ['ids', 'weight'], shape: ['N', 8] }],
  [
    'linear',
    (s) => linear(x(s), s.parameter(5, 8), s.parameter(5)),
    {
      inputs: ['x', 'weight', 'bias'],
      attributes: { activation: 'none', gated: false },
      shape: ['N', 5],
    },
  ],
  [
    'linear',
    (s) => linear(s.tensor(['R', 8]), s.parameter(8, 8)),
    { inputs: ['x', 'weight'], shape: ['R', 8] },
  ],
  [
    'layer-norm',
    (s) => layerNorm(x(s), { weight: s.parameter(8), bias: s.parameter(8), epsilon: 1e-3 }),
    { inputs: ['x', 'weight', 'bias'], attributes: { epsilon: 1e-3 }, shape: ['N', 8] },
  ],
  ['layer-norm', (s) => layerNorm(x(s)), { inputs: ['x'], attributes: { epsilon: 1e-5 } }],
  [
    'rms-norm',
    (s) => rmsNorm(x(s), { weight: s.parameter(8) }),
    { inputs: ['x', 'weight'], attributes: { epsilon: 1e-6 }, shape: ['N', 8] },
  ],
  [
    'rms-norm',
    (s) => rmsNorm(x(s), { weight: s.parameter(4), heads: 2 }),
    { inputs: ['x', 'weight'], attributes: { epsilon: 1e-6, heads: 2 }, shape: ['N', 8] },
  ],
  [
    'rope-table',
    (s) => ropeTable(ids(s), { frequencies, magnitude: 1.5 }),
    { inputs: ['positions'], attributes: { frequencies, magnitude: 1.5 }, shape: ['N', 4] },
  ],
  [
    'rope',
    (s) => rope(x(s), ropeTable(ids(s), { frequencies }), { heads: 2, interleaved: true }),
    { inputs: ['x', 'table'], attributes: { heads: 2, headSize: 4, interleaved: true }, shape: ['N', 8] },
  ],
  ['slice', (s) => slice(x(s), 3, 5), { inputs: ['x'], attributes: { start: 3, size: 5 }, shape: ['N', 5] }],
  ['slice', (s) => split(x(s), [3, 1, 4])[2], { attributes: { start: 4, size: 4 }, shape: ['N', 4] }],
  ['activation', (s) => relu(x(s)), { inputs: ['x'], attributes: { kind: 'relu' }, shape: ['N', 8] }],
  ['activation', (s) => gelu(x(s)), { attributes: { kind: 'gelu' } }],
  ['activation', (s) => geluTanh(x(s)), { attributes: { kind: 'gelu-tanh' } }],
  ['activation', (s) => silu(x(s), x(s)), { inputs: ['x', 'up'], attributes: { kind: 'silu' } }],
  ['add', (s) => add(x(s), x(s)), { inputs: ['a', 'b'], shape: ['N', 8] }],
  ['softcap', (s) => softcap(x(s), 30), { inputs: ['x'], attributes: { cap: 30 }, shape: ['N', 8] }],
  ['scale', (s) => scale(x(s), 0.5), { inputs: ['x'], attributes: { factor: 0.5 }, shape: ['N', 8] }],
  ['softmax', (s) => softmax(x(s)), { inputs: ['x'], shape: ['N', 8] }],
  [
    'experts',
    (s) => experts(x(s), x(s, 3), { ...matrices(s, 3), chosen: 2, normalised: true, activation: 'silu' }),
    {
      inputs: ['x', 'logits', 'gate', 'up', 'down'],
      attributes: { chosen: 2, normalised: true, activation: 'silu' },
      shape: ['N', 8],
    },
  ],
  [
    'gather-rows',
    (s) => gatherRows(x(s), s.tensor(['R'], 'i32')),
    { inputs: ['x', 'rows'], shape: ['R', 8] },
  ],
  [
    'attention',
    (s) =>
      attention(x(s), x(s, 4), x(s, 4), s.tables, {
        heads: 4,
        kvHeads: 2,
        mask: slidingWindow(7),
        softcap: 30,
        slopes: s.tensor([4]),
      }),
    {
      inputs: ['q', 'k', 'v', 'slopes', 'queryStarts', 'contextLengths', 'blockTables'],
      attributes: {
        layer: 0,
        heads: 4,
        kvHeads: 2,
        headSize: 2,
        scale: 1 / Math.sqrt(2),
        softcap: 30,
        window: 7,
      },
      shape: ['N', 8],
    },
  ],
  [
    'attention',
    (s) => attention(x(s), x(s), x(s), s.tables, { heads: 2, scale: 1 }),
    { attributes: { layer: 0, heads: 2, kvHeads: 2, headSize: 4, scale: 1, softcap: 0, window: 0 } },
  ],
]

describe('a node', () => {
  it.each(ops)('of %s', (op, record, expected) => {
    expect(recorded(record)).toMatchObject({ op, dtype: 'f32', ...expected })
  })

  it.each(ops)('of %s has the inputs and attributes of the op set', (op, record) => {
    const { inputs, attributes } = recorded(record)
    const signature = opSet[op as keyof typeof opSet]
    const known = signature.inputs.map((name) => name.replace('?', ''))
    expect(known).toEqual(expect.arrayContaining(inputs))
    expect(inputs).toEqual(expect.arrayContaining(signature.inputs.filter((name) => !name.endsWith('?'))))
    const names = Object.keys(signature.attributes)
    const required = names.filter((name) => !name.endsWith('?'))
    expect(Object.keys(attributes)).toEqual(expect.arrayContaining(required))
    expect(names.map((name) => name.replace('?', ''))).toEqual(
      expect.arrayContaining(Object.keys(attributes)),
    )
  })

  it('of sample gives ids and their logprobs', () => {
    const s = new Symbols()
    const f32 = () => s.tensor(['R'])
    const i32 = () => s.tensor(['R'], 'i32')
    const seed = s.tensor(['R', 2], 'i32')
    const tables = { temperature: f32(), topK: i32(), topP: f32(), minP: f32(), counter: i32(), seed }
    const controls = { adjusted: s.tensor(['R', 9]), typicalP: f32(), forced: i32() }
    for (const given of [undefined, controls]) {
      const { ids, logprobs } = sample(s.tensor(['R', 9]), tables, given)
      expect([ids.shape, ids.dtype, logprobs.shape, logprobs.dtype]).toEqual([['R'], 'i32', ['R'], 'f32'])
      const names = opSet.sample.inputs.filter((name) => given || !name.endsWith('?'))
      const inputs = Object.keys(s.graph.nodes.at(-1)!.inputs)
      expect(inputs.sort()).toEqual(names.map((name) => name.replace('?', '')).sort())
    }
  })

  it('of adjust-logits gives logits', () => {
    const s = new Symbols()
    const input = (name: Parameters<typeof Tensor.input>[1]) => Tensor.input(s.recording, name, 70)
    const edits = {
      editStarts: input('editStarts'),
      editIds: input('editIds'),
      editFactors: input('editFactors'),
      editOffsets: input('editOffsets'),
      maskRows: input('maskRows'),
      masks: input('masks'),
    }
    const { shape, dtype } = adjustLogits(s.tensor(['R', 70]), edits)
    expect([shape, dtype, edits.masks.shape]).toEqual([['R', 70], 'f32', ['M', 3]])
    expect(Object.keys(s.graph.nodes.at(-1)!.inputs)).toEqual(opSet['adjust-logits'].inputs)
  })

  it('of top-logits gives ids and their logprobs', () => {
    const s = new Symbols()
    const rows = () => s.tensor(['R', 9])
    const { topIds, topLogprobs } = topLogits(rows(), rows(), s.tensor(['R'], 'i32'), { most: 5 })
    expect([topIds.shape, topIds.dtype]).toEqual([['R', 5], 'i32'])
    expect([topLogprobs.shape, topLogprobs.dtype]).toEqual([['R', 5], 'f32'])
    expect(s.graph.nodes.at(-1)!.attributes).toEqual({ most: 5 })
    expect(Object.keys(s.graph.nodes.at(-1)!.inputs)).toEqual(opSet['top-logits'].inputs)
  })
})

describe('a recording', () => {
  it('has one value for a parameter, however often it is used', () => {
    const s = new Symbols()
    const weight = s.parameter(8, 8)
    linear(linear(x(s), weight), weight)
    const weights = s.graph.values.filter(({ kind }) => kind === 'weight')
    expect(weights).toEqual([
      {
        id: expect.any(Number),
        kind: 'weight',
        name: 'p0',
        shape: [8, 8],
        dtype: 'f32',
        parts: [{ parameter: 'p0', rows: 8 }],
      },
    ])
  })

  it('has one rope table for each set of frequencies', () => {
    const s = new Symbols()
    const positions = ids(s)
    const one = ropeTable(positions, { frequencies })
    expect(ropeTable(positions, { frequencies: [...frequencies] })).toBe(one)
    expect(ropeTable(positions, { frequencies, magnitude: 2 })).not.toBe(one)
    expect(ropeTable(positions, { frequencies: [1, 0.2] })).not.toBe(one)
    expect(s.graph.nodes.filter(({ op }) => op === 'rope-table')).toHaveLength(3)
  })

  it('gives each attention a layer of the cache', () => {
    const s = new Symbols()
    for (let i = 0; i < 3; i++) attention(x(s), x(s), x(s), s.tables, { heads: 2 })
    const layers = s.graph.nodes
      .filter(({ op }) => op === 'attention')
      .map(({ attributes }) => attributes.layer)
    expect(layers).toEqual([0, 1, 2])
  })

  it('is plain data', () => {
    const s = new Symbols()
    attention(x(s), x(s), x(s), s.tables, { heads: 2 })
    expect(structuredClone(s.graph)).toEqual(s.graph)
    expect(s.graph.values.every(({ id }, i) => id === i)).toBe(true)
  })

  it('names nodes after the innermost module, also when one throws', () => {
    const { recording } = new Symbols()
    expect(recording.scope).toBe('')
    recording.within('h.0', () => {
      expect(() =>
        recording.within('h.0.mlp', () => {
          throw new Error('x')
        }),
      ).toThrow('x')
      expect(recording.scope).toBe('h.0')
    })
    expect(recording.scope).toBe('')
  })
})
