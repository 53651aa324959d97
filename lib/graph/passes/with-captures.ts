import { invalidValue } from '../../errors.js'
import type { Graph, ValueId } from '../graph.js'
import { GraphEditor } from '../rewrite.js'

/**
 * Gives values from within beside the graph's outputs. These stay, so that weights that are read together stay together: a
 * store holds them so.
 *
 * @throws {RangeError} when one is not computed by the graph
 */
export function withCaptures(graph: Graph, captures: Readonly<Record<string, ValueId>>): Graph {
  const editor = new GraphEditor(graph)
  for (const [name, id] of Object.entries(captures)) {
    if (!editor.producer(id))
      throw invalidValue(`graph: ${name}`, 'computed by a node', editor.value(id).kind)
  }
  editor.outputs = { ...editor.outputs, ...captures }
  return editor.finish()
}

/** Lets everything that reads the value `from` read `to` instead, which is computed before it. */
export function withValueReplaced(graph: Graph, from: ValueId, to: ValueId): Graph {
  const swap = (ids: Record<string, ValueId>) =>
    Object.fromEntries(Object.entries(ids).map(([name, id]) => [name, id === from ? to : id]))
  return {
    ...graph,
    nodes: graph.nodes.map((node) => ({ ...node, inputs: swap(node.inputs) })),
    outputs: swap(graph.outputs),
  }
}
