import { invalidValue } from '../errors.js'
import type { Graph, Node } from './graph.js'
import { exclusivelyRead, GraphEditor } from './rewrite.js'
import { validateGraph } from './validate.js'

/**
 * Gives the program that native code compiles. It is the graph itself, once it is lowered and laid out; native code
 * reads values, nodes and outputs by their names and checks all sizes, ranges and indices again.
 *
 * @throws {RangeError} when something is left to do for a pass, or could not be computed in place
 */
export function toNativeProgram(graph: Graph): Graph {
  validateGraph(graph)
  if (Object.keys(graph.outputs).length === 0) throw invalidValue('graph: outputs', 'one at least', 'none')
  const editor = new GraphEditor(graph)
  const filled = new Map<unknown, Node>()
  for (const node of graph.nodes) {
    if (node.op === 'kv-append') checkAppend(node, editor, filled)
    if (node.op === 'attention') checkAttention(node, filled)
    checkWeights(node, graph)
  }
  return graph
}

function checkAppend(node: Node, editor: GraphEditor, filled: Map<unknown, Node>): void {
  const where = `graph: kv-append of ${node.name}`
  const { layer, heads, interleaved } = node.attributes
  if (filled.has(layer)) throw invalidValue(`${where}: layer`, 'filled once', layer)
  filled.set(layer, node)
  const { table, q } = node.inputs
  const rotating = [table, q, node.outputs.q, heads, interleaved].filter((part) => part !== undefined).length
  if (rotating !== 0 && rotating !== 5) {
    throw invalidValue(
      where,
      'given table, q, heads and interleaved together',
      Object.keys(node.inputs).join(', '),
    )
  }
  if (q !== undefined && !exclusivelyRead(editor, q)) {
    throw invalidValue(`${where}: q`, 'read by nothing else, since it is rotated in place', 'other readers')
  }
}

function checkAttention({ name, inputs, attributes }: Node, filled: Map<unknown, Node>): void {
  const where = `graph: attention of ${name}`
  if (inputs.k !== undefined || inputs.v !== undefined) throw invalidValue(where, 'lowered', 'k and v')
  const append = filled.get(attributes.layer)
  if (!append) throw invalidValue(where, `after a kv-append to layer ${attributes.layer}`, 'none')
  for (const key of ['kvHeads', 'headSize'] as const) {
    if (append.attributes[key] !== attributes[key]) {
      throw invalidValue(`${where}: ${key}`, `the cache's, ${append.attributes[key]}`, attributes[key])
    }
  }
}

function checkWeights({ op, name, inputs, attributes }: Node, graph: Graph): void {
  for (const [input, id] of Object.entries(inputs)) {
    const { kind, layout, dtype, interleaved = false } = graph.values[id]!
    const where = `graph: ${op} of ${name}: ${input}`
    if (op === 'experts' && kind === 'weight') {
      if (layout !== 'panels' && layout !== 'tiles') throw invalidValue(where, 'in panels or tiles', layout)
    } else if (op === 'linear' && input === 'weight') {
      if (kind !== 'weight') throw invalidValue(where, 'a weight', kind)
      if (layout !== 'panels' && layout !== 'tiles') throw invalidValue(where, 'in panels or tiles', layout)
      if (interleaved !== attributes.gated)
        throw invalidValue(where, 'interleaved where it is gated', interleaved)
    } else if (kind === 'weight') {
      const isTable = op === 'embedding' && input === 'weight'
      const fits = isTable ? layout !== undefined && !interleaved : layout === 'rows' && dtype === 'f32'
      if (!fits) throw invalidValue(where, isTable ? 'laid out' : 'f32 in rows', `${dtype} in ${layout}`)
    }
  }
}
