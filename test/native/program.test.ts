import { describe, expect, it } from 'vitest'
import type { Graph } from '#kvasir/graph/graph.js'
import { addon } from '#kvasir/native/addon.js'
import { errorOf, fixtureNames, limits, ProgramFixture } from './program-fixture.js'

// biome-ignore lint/suspicious/noExplicitAny: what is wrong on purpose has no type
type Wrong = any

const fixture = new ProgramFixture('llama')

const type = 'ERR_INVALID_ARG_TYPE'
const value = 'ERR_INVALID_ARG_VALUE'
const shape = 'ERR_SHAPE'
const dtype = 'ERR_DTYPE'

/** The parts of a description to change: the first node of an op, the value of a name. */
interface Parts {
  graph: Wrong
  node: (op: string) => Wrong
  named: (name: string) => Wrong
}

function changed(graph: Graph, change: (parts: Parts) => void): Wrong {
  const copy: Wrong = structuredClone(graph)
  const node = (op: string) => copy.nodes.find((candidate: Wrong) => candidate.op === op)
  const named = (name: string) => copy.values.find((candidate: Wrong) => candidate.name === name)
  change({ graph: copy, node, named })
  return copy
}

/** Adds a value and gives its id. */
function addValue(graph: Wrong, columns: number, rows = 'N', rest = {}): number {
  graph.values.push({
    id: graph.values.length,
    kind: 'result',
    name: 'added',
    shape: [rows, columns],
    dtype: 'f32',
    ...rest,
  })
  return graph.values.length - 1
}

type Fault = [name: string, code: string | RegExp, change: (parts: Parts) => void, message?: RegExp]

const structureFaults: Fault[] = [
  ['no values', type, ({ graph }) => delete graph.values],
  ['values that are no array', type, ({ graph }) => (graph.values = { length: 3 })],
  ['a hole in the values', type, ({ graph }) => delete graph.values[3]],
  ['no nodes', type, ({ graph }) => delete graph.nodes],
  ['a node that is null', type, ({ graph }) => (graph.nodes[1] = null)],
  ['no outputs', type, ({ graph }) => delete graph.outputs],
  ['an output that is no number', type, ({ graph }) => (graph.outputs.ids = '3')],
  ['an output that is no value', value, ({ graph }) => (graph.outputs.ids = graph.values.length)],
  ['an output that is a weight', value, ({ graph, named }) => (graph.outputs.ids = named('norm.weight').id)],
  ['an output that is a table', value, ({ graph, named }) => (graph.outputs.ids = named('tokens').id)],
  ['an output that nothing makes', value, ({ graph }) => (graph.outputs.more = addValue(graph, 3))],
  ['a kind of no meaning', value, ({ graph }) => (graph.values[0].kind = 'param')],
  ['a name that is a number', type, ({ graph }) => (graph.values[0].name = 3)],
  ['a shape that is a string', type, ({ graph }) => (graph.values[0].shape = 'N')],
  ['a shape without dimensions', shape, ({ graph }) => (graph.values[0].shape = [])],
  ['a shape of three dimensions', shape, ({ named }) => (named('norm.weight').shape = [32, 1, 1])],
  ['a shape of a million dimensions', type, ({ graph }) => (graph.values[0].shape = new Array(1e6).fill(1))],
  ['a weight of free size', shape, ({ named }) => (named('norm.weight').shape = ['N'])],
  ['a result without rows', shape, ({ graph }) => (graph.values[addValue(graph, 3)].shape = [3, 3])],
  ['sizes that overflow', shape, ({ named }) => (named('norm.weight').shape = [2 ** 40, 2 ** 40])],
  ['a dtype that does not exist', dtype, ({ graph }) => (graph.values[0].dtype = 'f64')],
  ['a layout that does not exist', value, ({ named }) => (named('norm.weight').layout = 'columns')],
  ['a flag that is a number', type, ({ named }) => (named('norm.weight').interleaved = 1)],
  ['data that is an array', type, ({ graph }) => (graph.values[0].data = [1, 2])],
  ['data of doubles', type, ({ graph }) => (graph.values[0].data = new Float64Array(2))],
  ['a constant without data', shape, ({ named }) => (named('norm.weight').kind = 'constant')],
  [
    'a constant of less data than its shape',
    shape,
    ({ named }) => Object.assign(named('norm.weight'), { kind: 'constant', data: new Float32Array(31) }),
  ],
  ['an unknown op', value, ({ node }) => (node('linear').op = 'conv'), /unknown op/],
  ['an op that is a number', type, ({ node }) => (node('linear').op = 7)],
  ['inputs that are null', type, ({ node }) => (node('linear').inputs = null)],
  ['a negative id', value, ({ node }) => (node('linear').inputs.x = -1)],
  ['half an id', value, ({ node }) => (node('linear').inputs.x = 0.5)],
  ['an id that is NaN', value, ({ node }) => (node('linear').inputs.x = NaN)],
  ['an id beyond the values', value, ({ node }) => (node('linear').inputs.x = 100_000)],
  ['an id beyond 2^31', value, ({ node }) => (node('linear').inputs.x = 2 ** 31 + 1)],
  ['no attributes', type, ({ node }) => delete node('linear').attributes],
  ['an attribute that is an object', type, ({ node }) => (node('rms-norm').attributes.epsilon = {})],
  ['a frequency that is a string', type, ({ node }) => (node('rope-table').attributes.frequencies[1] = '1')],
  ['nodes in reverse', value, ({ graph }) => graph.nodes.reverse(), /used before it is made/],
  [
    'a node that reads its own result',
    value,
    ({ node }) => (node('linear').inputs.x = node('linear').outputs.y),
  ],
  ['a node twice', value, ({ graph }) => graph.nodes.push(graph.nodes[0]), /made twice/],
  [
    'two results in one value',
    value,
    ({ node }) => (node('sample').outputs.logprobs = node('sample').outputs.ids),
    /made twice/,
  ],
  ['a result in a weight', value, ({ node, named }) => (node('linear').outputs.y = named('norm.weight').id)],
  ['a weight that the store does not have', value, ({ named }) => (named('norm.weight').name = 'none')],
  ['an interleaved embedding', value, ({ named }) => (named('embed_tokens.weight').interleaved = true)],
]

const nodeFaults: Fault[] = [
  [
    'ids of outputs for an embedding',
    value,
    ({ node, named }) => (node('embedding').inputs.ids = named('norm.weight').id),
  ],
  [
    'rows for ids',
    /SHAPE|VALUE/,
    ({ node, named }) => (node('embedding').inputs.ids = named('outputRows').id),
  ],
  [
    'an activation that does not exist',
    value,
    ({ node }) => (node('linear').attributes.activation = 'swish'),
  ],
  ['a gated linear of plain weights', value, ({ node }) => (node('linear').attributes.gated = true)],
  ['a flag for an activation', value, ({ node }) => (node('linear').attributes.activation = true)],
  [
    'a linear weight in rows',
    value,
    ({ graph, node }) => (graph.values[node('linear').inputs.weight].layout = 'rows'),
  ],
  ['a result for a weight', value, ({ node }) => (node('linear').inputs.weight = node('linear').inputs.x)],
  [
    'a weight for an activation',
    value,
    ({ node, named }) => (node('rms-norm').inputs.x = named('embed_tokens.weight').id),
  ],
  ['a negative epsilon', value, ({ node }) => (node('rms-norm').attributes.epsilon = -1e-5)],
  ['an epsilon that is NaN', value, ({ node }) => (node('rms-norm').attributes.epsilon = NaN)],
  ['an infinite epsilon', value, ({ node }) => (node('rms-norm').attributes.epsilon = Infinity)],
  ['heads that do not divide a row', shape, ({ node }) => (node('rms-norm').attributes.heads = 5)],
  ['heads that the weight does not fit', shape, ({ node }) => (node('rms-norm').attributes.heads = 2)],
  ['no heads', value, ({ node }) => (node('rms-norm').attributes.heads = 0)],
  ['half a head', value, ({ node }) => (node('rms-norm').attributes.heads = 1.5)],
  [
    'a sum without a residual',
    value,
    ({ graph, node }) => (node('rms-norm').outputs.sum = addValue(graph, 32)),
  ],
  [
    'an unknown output',
    value,
    ({ graph, node }) => (node('linear').outputs.z = addValue(graph, 32)),
    /unknown output z/,
  ],
  [
    'a second, larger view of a slice',
    value,
    ({ graph, node }) => (node('slice').outputs.z = addValue(graph, 1_000_000)),
    /unknown output z/,
  ],
  ['a slice from before the start', value, ({ node }) => (node('slice').attributes.start = -1)],
  ['a slice past the end', value, ({ node }) => (node('slice').attributes.start = 33)],
  ['an empty slice', value, ({ node }) => (node('slice').attributes.size = 0)],
  ['no frequencies', value, ({ node }) => (node('rope-table').attributes.frequencies = [])],
  [
    '129 frequencies',
    value,
    ({ node }) => (node('rope-table').attributes.frequencies = new Array(129).fill(1)),
  ],
  ['an infinite frequency', value, ({ node }) => (node('rope-table').attributes.frequencies[0] = Infinity)],
  ['a magnitude that is NaN', value, ({ node }) => (node('rope-table').attributes.magnitude = NaN)],
  ['more heads than the queries have', shape, ({ node }) => (node('kv-append').attributes.heads = 5)],
  ['4097 heads', value, ({ node }) => (node('attention').attributes.heads = 4097)],
  ['half a head', value, ({ node }) => (node('attention').attributes.heads = 3.5)],
  ['heads that keys do not divide', shape, ({ node }) => (node('attention').attributes.kvHeads = 3)],
  ['a head size of 0', value, ({ node }) => (node('attention').attributes.headSize = 0)],
  ['a head size of 257', value, ({ node }) => (node('attention').attributes.headSize = 257)],
  ['heads that the cache does not have', shape, ({ node }) => (node('attention').attributes.kvHeads = 4)],
  ['a cache layer past the last', value, ({ node }) => (node('attention').attributes.layer = 1)],
  ['a cache layer before the first', value, ({ node }) => (node('kv-append').attributes.layer = -1)],
  ['half a cache layer', value, ({ node }) => (node('kv-append').attributes.layer = 0.5)],
  [
    'keys that were not lowered',
    value,
    ({ node }) => (node('attention').inputs.k = node('attention').inputs.q),
  ],
  ['a scale that is NaN', value, ({ node }) => (node('attention').attributes.scale = NaN)],
  ['a negative soft-cap', value, ({ node }) => (node('attention').attributes.softcap = -1)],
  ['an infinite soft-cap', value, ({ node }) => (node('attention').attributes.softcap = Infinity)],
  ['a negative window', value, ({ node }) => (node('attention').attributes.window = -1)],
  ['a window beyond 2^31', value, ({ node }) => (node('attention').attributes.window = 2 ** 32)],
  [
    "tables in each other's places",
    /SHAPE|VALUE/,
    ({ node }) => {
      const { inputs } = node('attention')
      ;[inputs.queryStarts, inputs.contextLengths] = [inputs.contextLengths, inputs.queryStarts]
    },
  ],
  ['a rotation table without queries', value, ({ node }) => delete node('kv-append').inputs.q],
  ['rotated queries of no table', value, ({ node }) => delete node('kv-append').inputs.table],
  [
    'a rotation of more channels than a head has',
    shape,
    ({ graph, node }) => {
      graph.values[node('rope-table').outputs.y].shape = ['N', 10]
      node('rope-table').attributes.frequencies = [1, 2, 3, 4, 5]
    },
  ],
  [
    'a table for queries',
    /SHAPE|VALUE/,
    ({ node }) => (node('kv-append').inputs.q = node('kv-append').inputs.table),
  ],
  [
    'keys for queries',
    /SHAPE|VALUE/,
    ({ node }) => (node('kv-append').inputs.q = node('kv-append').inputs.k),
  ],
  [
    'rows of rows',
    shape,
    ({ graph, node }) => {
      const x = node('gather-rows').outputs.y
      const y = addValue(graph, 32, 'R')
      graph.nodes.push({
        ...node('gather-rows'),
        inputs: { ...node('gather-rows').inputs, x },
        outputs: { y },
      })
    },
  ],
  ['logits of all tokens', shape, ({ node }) => (node('sample').inputs.logits = node('embedding').outputs.y)],
  ['a seed for a counter', shape, ({ node }) => (node('sample').inputs.counter = node('sample').inputs.seed)],
  [
    'a counter for a temperature',
    dtype,
    ({ node }) => (node('sample').inputs.temperature = node('sample').inputs.topK),
  ],
]

// The rotation overwrites the queries where they are.
const overwritten: Fault[] = [
  ['an output', value, ({ graph, node }) => (graph.outputs.q = node('kv-append').inputs.q)],
  [
    "a later node's input",
    value,
    ({ graph, node }) => {
      const y = addValue(graph, 32)
      graph.nodes.push({
        op: 'scale',
        name: '',
        inputs: { x: node('kv-append').inputs.q },
        outputs: { y },
        attributes: { factor: 2 },
      })
    },
  ],
  [
    'part of a later slice',
    value,
    ({ graph, node }) => {
      const [slice, y] = [addValue(graph, 8), addValue(graph, 8)]
      graph.nodes.push(
        {
          op: 'slice',
          name: '',
          inputs: { x: node('slice').inputs.x },
          outputs: { y: slice },
          attributes: { start: 30, size: 8 },
        },
        { op: 'scale', name: '', inputs: { x: slice }, outputs: { y }, attributes: { factor: 2 } },
      )
    },
  ],
  ['part of a larger output', value, ({ graph, node }) => (graph.outputs.whole = node('slice').inputs.x)],
  [
    'the queries of another rotation',
    value,
    ({ graph, node }) => {
      const again = structuredClone(node('kv-append'))
      again.outputs.q = addValue(graph, 32)
      graph.nodes.splice(graph.nodes.indexOf(node('attention')), 0, again)
    },
  ],
]

describe('a program description', () => {
  it.each(structureFaults)('with %s', (_, code, change, message) => {
    fixture.expectRefused(() => fixture.compile(changed(fixture.graph, change)), code, message)
  })

  it.each(nodeFaults)('with %s', (_, code, change, message) => {
    fixture.expectRefused(() => fixture.compile(changed(fixture.graph, change)), code, message)
  })

  it.each(overwritten)('whose queries are rotated in place and are %s', (_, code, change) => {
    const compile = () => fixture.compile(changed(fixture.graph, change))
    fixture.expectRefused(compile, code, /overwritten by a kv-append/)
  })

  it.each(fixtureNames)('of %s without one of its parts', (name) => {
    const own = new ProgramFixture(name)
    const optional = ['bias', 'residual', 'slopes', 'interleaved', 'up', 'gated', 'normalised']
    for (const [i, node] of own.graph.nodes.entries()) {
      for (const part of ['inputs', 'outputs', 'attributes'] as const) {
        for (const key of Object.keys(node[part])) {
          const graph = changed(own.graph, ({ graph }) => delete graph.nodes[i][part][key])
          const error = errorOf(() => own.compile(graph))
          const where = `${node.op}, ${part}.${key}: ${error}`
          // A norm's weight and bias are optional, an embedding's and a linear's weight is not.
          const isOptional = optional.includes(key) || (node.op.endsWith('-norm') && key === 'weight')
          // Without its heads, a row's norm has another weight.
          const code = node.op === 'rms-norm' && key === 'heads' ? shape : value
          if (isOptional) expect(error?.code ?? value, where).toBe(value)
          else expect(error?.code, where).toBe(code)
        }
      }
    }
    own.expectIntact()
  })

  it.each(fixtureNames)('of %s with another size, dtype or kind anywhere', (name) => {
    const own = new ProgramFixture(name)
    const other = {
      N: 'R',
      R: 'N',
      'R+1': 'R',
      S: 'N',
      'S+1': 'S',
      W: 'S',
      E: 'M',
      M: 'E',
    } as Record<string, string>
    const changes: [string, (wrong: Wrong, dim: number) => void][] = [
      ['one more', ({ shape }, d) => (shape[d] = typeof shape[d] === 'number' ? shape[d] + 1 : 3)],
      ['one less', ({ shape }, d) => (shape[d] = typeof shape[d] === 'number' ? shape[d] - 1 : 1)],
      ['huge', ({ shape }, d) => (shape[d] = 2 ** 39)],
      ['free', ({ shape }, d) => (shape[d] = typeof shape[d] === 'number' ? 'N' : other[shape[d]])],
      ['a dimension more', ({ shape }) => shape.push(1)],
      ['a dimension less', ({ shape }) => shape.pop()],
      ['f16', (wrong) => (wrong.dtype = wrong.dtype === 'f16' ? 'bf16' : 'f16')],
      ['i32', (wrong) => (wrong.dtype = wrong.dtype === 'i32' ? 'f32' : 'i32')],
      ...['input', 'weight', 'constant', 'result'].map((kind): [string, (wrong: Wrong) => void] => [
        kind,
        (wrong) => (wrong.kind = wrong.kind === kind ? 'none' : kind),
      ]),
    ]
    const isUsed = usedValues(own.graph)
    for (const { id, name, shape } of own.graph.values.filter(({ id }) => isUsed.has(id))) {
      for (const [what, change] of changes) {
        for (const dim of shape.keys()) {
          const graph = changed(own.graph, ({ graph }) => change(graph.values[id], dim))
          const error = errorOf(() => own.compile(graph))
          expect(error?.code, `${what} in ${name} ${shape}: ${error}`).toMatch(/TYPE|VALUE|SHAPE/)
        }
      }
    }
    own.expectIntact()
  })

  it('of other shapes than the weights in the store', () => {
    // Consistent in itself: a vocabulary and a feed-forward size that are not the model's.
    const wider = changed(fixture.graph, ({ named }) => (named('embed_tokens.weight').shape = [51, 32]))
    fixture.expectRefused(() => fixture.compile(wider), shape, /the store holds another shape/)
    const gated = changed(fixture.graph, ({ graph }) => {
      for (const { shape } of graph.values) {
        if (shape[1] === 88) shape[1] = 120
        if (shape[0] === 176) shape[0] = 240
      }
    })
    fixture.expectRefused(() => fixture.compile(gated), shape, /the store holds another shape/)
  })

  it('with a table that lies in another matrix', () => {
    for (const view of ['slice', 'kv-append']) {
      const graph = changed(fixture.graph, ({ graph, node }) => {
        const x = node(view).outputs[view === 'slice' ? 'y' : 'q']
        const [y] = [addValue(graph, 32)]
        const attributes = { heads: 1, headSize: 32, interleaved: false }
        graph.nodes.push({
          op: 'rope',
          name: '',
          inputs: { x: node('embedding').outputs.y, table: x },
          outputs: { y },
          attributes,
        })
      })
      fixture.expectRefused(() => fixture.compile(graph), value, /table must not be a slice/)
    }
  })

  it('with limits that are wrong', () => {
    const make = (limits: Wrong) => () =>
      new (addon().Program)(fixture.backend, fixture.store, fixture.cache, fixture.graph, limits)
    for (const key of ['maxTokens', 'maxRows', 'maxSequences', 'maxBlocks']) {
      for (const wrong of [0, -1, 1.5, NaN, Infinity, 2 ** 20 + 1, 2 ** 53]) {
        fixture.expectRefused(make({ ...limits, [key]: wrong }), value, new RegExp(key))
      }
      for (const wrong of ['4', null, undefined, 4n, {}]) {
        fixture.expectRefused(make({ ...limits, [key]: wrong }), type, new RegExp(key))
      }
    }
    for (const key of ['maxEdits', 'maxMasks']) {
      for (const wrong of [-1, 1.5, NaN, Infinity, 2 ** 20 + 1]) {
        fixture.expectRefused(make({ ...limits, [key]: wrong }), value, new RegExp(key))
      }
      for (const wrong of ['4', null, 4n, {}]) {
        fixture.expectRefused(make({ ...limits, [key]: wrong }), type, new RegExp(key))
      }
    }
    fixture.expectRefused(make(null), type)
    fixture.expectRefused(make(undefined), type)
  })

  it('for attention, but without a cache', () => {
    const make = () => new (addon().Program)(fixture.backend, fixture.store, null, fixture.graph, limits)
    fixture.expectRefused(make, value, /given no cache/)
    const cache = new (addon().KvCache)(fixture.backend, { layers: [], numBlocks: 1, dtype: 'f32' })
    const makeEmpty = () =>
      new (addon().Program)(fixture.backend, fixture.store, cache, fixture.graph, limits)
    fixture.expectRefused(makeEmpty, value, /no layers/)
  })

  it('that is a string, null or empty', () => {
    for (const wrong of ['graph', null, 1, () => 1]) {
      fixture.expectRefused(() => fixture.compile(wrong), type)
    }
    const empty = fixture.compile({ values: [], nodes: [], outputs: {} })
    expect(empty.run({}, {}, null)).toBe(true)
    fixture.expectRefused(() => empty.run({}, { y: new Float32Array(1) }, null), value)
  })

  it('whose properties throw', () => {
    const trap = {
      get nodes(): never {
        throw new EvalError('from a getter')
      },
      values: [],
      outputs: {},
    }
    expect(() => fixture.compile(trap)).toThrow(EvalError)
    const proxy = new Proxy(fixture.graph, {
      get: () => {
        throw new EvalError('from a proxy')
      },
    })
    expect(() => fixture.compile(proxy)).toThrow(EvalError)
    fixture.expectIntact()
  })

  it('with the largest limits takes memory only as steps reach', () => {
    const most = { maxTokens: 2 ** 20, maxRows: 2 ** 20, maxSequences: 2 ** 20, maxBlocks: 2 ** 20 }
    const { backend, store, cache, graph } = fixture
    const program = new (addon().Program)(backend, store, cache, graph, most)
    expect(program.bytes).toBeGreaterThanOrEqual(2 ** 30)
    expect(fixture.run(program)).toEqual(fixture.run(fixture.compile()))
    fixture.expectIntact()
  })

  it('whose results are larger than there is an address space', () => {
    const store = new (addon().WeightStore)()
    store.declare({ name: 'wide', dtype: 'f32', layout: 'rows', rows: 1, cols: 300_000 })
    const y = { id: 2, kind: 'result', name: 'y', shape: ['N', 300_000], dtype: 'f32' }
    const weight = { id: 1, kind: 'weight', name: 'wide', shape: [1, 300_000], dtype: 'f32', layout: 'rows' }
    const tokens = { id: 0, kind: 'input', name: 'tokens', shape: ['N'], dtype: 'i32' }
    const node = {
      op: 'embedding',
      name: '',
      inputs: { ids: 0, weight: 1 },
      outputs: { y: 2 },
      attributes: {},
    }
    const graph: Wrong = { values: [tokens, weight, y], nodes: [node], outputs: { y: 2 } }
    const make = (maxTokens: number) =>
      new (addon().Program)(fixture.backend, store, null, graph, { ...limits, maxTokens })
    fixture.expectRefused(() => make(2 ** 20), 'ERR_OUT_OF_MEMORY', /larger than 1 TiB/)
    make(16).dispose()
  })
})

/** The values that a node reads or makes. */
function usedValues(graph: Graph): Set<number> {
  return new Set(
    graph.nodes.flatMap(({ inputs, outputs }) => [...Object.values(inputs), ...Object.values(outputs)]),
  )
}
