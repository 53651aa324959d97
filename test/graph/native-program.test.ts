import { describe, expect, it } from 'vitest'
import type { Graph, Node, Value } from '#kvasir/graph/graph.js'
import { toNativeProgram } from '#kvasir/graph/native-program.js'
import { optimize } from '#kvasir/graph/passes/index.js'
import { lowerAttention } from '#kvasir/graph/passes/lower-attention.js'
import { validateGraph } from '#kvasir/graph/validate.js'
import { recordGpt2, recordLlama } from './families.js'

type Writable<T> = { -readonly [K in keyof T]: T[K] }

/** A fused LLaMA of one layer, changed; `node` and `value` find what to change. */
function changed(
  change: (graph: Graph, node: (op: string) => Node, value: (name: string) => Writable<Value>) => void,
): Graph {
  const graph = structuredClone(optimize(recordLlama({ numLayers: 1 })))
  const node = (op: string) => graph.nodes.find((node) => node.op === op)!
  change(graph, node, (name) => graph.values.find((value) => value.name === name)!)
  return graph
}

const gate = 'layers.0.mlp.gate_proj|up_proj.weight'

describe('toNativeProgram', () => {
  it('passes what the passes make', () => {
    for (const graph of [optimize(recordLlama()), optimize(recordGpt2(), { dtype: 'f16' })]) {
      expect(toNativeProgram(graph)).toBe(graph)
      expect(structuredClone(graph)).toEqual(graph)
    }
  })

  it('wants attention to be lowered and weights to be laid out', () => {
    expect(() => toNativeProgram(recordLlama())).toThrow(/^graph: .* must be /)
    expect(() => toNativeProgram(lowerAttention(recordLlama()))).toThrow(
      'must be laid out, got "f32 in undefined"',
    )
    const lowered = changed((_, node) => Object.assign(node('attention').inputs, { k: 0 }))
    expect(() => toNativeProgram(lowered)).toThrow(
      'graph: attention of layers.0.self_attn must be lowered, got "k and v"',
    )
  })

  const faults: [string, RegExp, Parameters<typeof changed>[0]][] = [
    ['no outputs', /outputs must be one at least/, (graph) => Object.assign(graph, { outputs: {} })],
    [
      'a cache layer that is never filled',
      /after a kv-append to layer 7/,
      (_, node) => Object.assign(node('attention').attributes, { layer: 7 }),
    ],
    [
      'a cache layer of other heads',
      /kvHeads must be the cache's, 2, got 4/,
      (_, node) => Object.assign(node('attention').attributes, { kvHeads: 4 }),
    ],
    [
      'half a rotation',
      /given table, q, heads and interleaved together/,
      (_, node) => delete node('kv-append').inputs.table,
    ],
    [
      'a cache layer filled twice',
      /layer must be filled once, got 0/,
      (graph, node) => {
        const { k, v, queryStarts, contextLengths, blockTables } = node('kv-append').inputs
        const inputs = { k, v, queryStarts, contextLengths, blockTables }
        const attributes = { layer: 0, kvHeads: 2, headSize: 8 }
        graph.nodes.splice(-4, 0, { op: 'kv-append', name: 'again', inputs, outputs: {}, attributes })
      },
    ],
    [
      'queries read beside their rotation',
      /q must be read by nothing else/,
      (graph, node) => Object.assign(graph.outputs, { q: node('kv-append').inputs.q }),
    ],
    [
      'a linear weight in rows',
      /weight must be in panels or tiles, got "rows"/,
      (_, _node, value) => Object.assign(value(gate), { layout: 'rows' }),
    ],
    [
      'a gated weight that is not interleaved',
      /weight must be interleaved where it is gated/,
      (_, _node, value) => delete value(gate).interleaved,
    ],
    [
      'a norm weight in 16 bits',
      /must be f32 in rows, got "f16 in rows"/,
      (_, _node, value) => Object.assign(value('norm.weight'), { dtype: 'f16' }),
    ],
    [
      'a linear that reads a result as its weight',
      /weight must be a weight, got "result"/,
      (_, node) => Object.assign(node('linear').inputs, { weight: node('linear').inputs.x }),
    ],
  ]

  it.each(faults)('refuses %s', (_, message, change) => {
    expect(() => toNativeProgram(changed(change))).toThrow(message)
  })
})

describe('validateGraph', () => {
  it('passes recorded graphs', () => {
    validateGraph(recordLlama())
    validateGraph(recordGpt2())
  })

  const faults: [string, RegExp, Parameters<typeof changed>[0]][] = [
    ['ids out of order', /id of value 0 must be 0, got \d+/, (graph) => graph.values.reverse()],
    [
      'an unknown op',
      /graph: conv of .* must be a known op/,
      (_, node) => Object.assign(node('attention'), { op: 'conv' }),
    ],
    ['a missing input', /inputs must be with x/, (_, node) => delete node('linear').inputs.x],
    [
      'an unknown input',
      /inputs must be of x, weight, bias, residual/,
      (_, node) => Object.assign(node('linear').inputs, { gate: 0 }),
    ],
    ['a missing output', /outputs must be with y/, (_, node) => delete node('linear').outputs.y],
    [
      'a missing attribute',
      /attributes must be with gated/,
      (_, node) => delete node('linear').attributes.gated,
    ],
    [
      'an attribute of the wrong kind',
      /gated must be a boolean, got 1/,
      (_, node) => Object.assign(node('linear').attributes, { gated: 1 }),
    ],
    [
      'an attribute that is no number',
      /epsilon must be a finite number, got NaN/,
      (_, node) => Object.assign(node('rms-norm').attributes, { epsilon: NaN }),
    ],
    [
      'an unknown activation',
      /activation must be one of none, relu/,
      (_, node) => Object.assign(node('linear').attributes, { activation: 'swish' }),
    ],
    [
      'frequencies that are no list',
      /frequencies must be finite numbers/,
      (_, node) => Object.assign(node('rope-table').attributes, { frequencies: 1 }),
    ],
    [
      'a value read before it is made',
      /must be a value computed before it/,
      (graph) => graph.nodes.reverse(),
    ],
    [
      'a value that is made twice',
      /y must be a result that nothing else computes/,
      (graph) => graph.nodes.push(graph.nodes[0]),
    ],
    [
      'a weight that is made',
      /y must be a result that nothing else computes/,
      (_, node, value) => Object.assign(node('linear').outputs, { y: value('norm.weight').id }),
    ],
    [
      'an output that nothing makes',
      /output logits must be a computed value, got 999/,
      (graph) => Object.assign(graph.outputs, { logits: 999 }),
    ],
    [
      'an unknown input table',
      /graph: input ids must be one of tokens, positions/,
      (_, _node, value) => Object.assign(value('tokens'), { name: 'ids' }),
    ],
    [
      'an input table of another shape',
      /input tokens must be \(N\) i32, got "\(R\) i32"/,
      (_, _node, value) => Object.assign(value('tokens'), { shape: ['R'] }),
    ],
    [
      'parts that do not add up',
      /parts must be 176 rows, got 88/,
      (_, _node, value) => value(gate).parts!.pop(),
    ],
    [
      'interleaved parts of different size',
      /parts must be two of equal rows/,
      (_, _node, value) => {
        value(gate).parts![0].rows += 8
        value(gate).parts![1].rows -= 8
      },
    ],
    [
      'a weight of free size',
      /shape must be of known sizes/,
      (_, _node, value) => Object.assign(value('norm.weight'), { shape: ['N'] }),
    ],
    [
      'a constant without its data',
      /constant norm.weight must be 32 numbers, got undefined/,
      (_, _node, value) => Object.assign(value('norm.weight'), { kind: 'constant' }),
    ],
  ]

  it.each(faults)('refuses %s', (_, message, change) => {
    expect(() => validateGraph(changed(change))).toThrow(message)
  })
})
