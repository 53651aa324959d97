import { expect } from 'vitest'
import type { Graph, Node, ValueId } from '#kvasir/graph/graph.js'
import { GraphBuilder } from './graph-builder.js'

export const C = 8
export const heads = { heads: 2, kvHeads: 2, headSize: 4 }

/** A builder with one (N,8) result to start from. */
export function start(): { b: GraphBuilder; x: ValueId } {
  const b = new GraphBuilder()
  return { b, x: b.embedding('wte', b.input('tokens'), b.weight('wte.weight', [5, C])) }
}

export const ops = (graph: Graph) => graph.nodes.map((node) => node.op)

export const only = (graph: Graph, op: string): Node => {
  const nodes = graph.nodes.filter((node) => node.op === op)
  expect(nodes).toHaveLength(1)
  return nodes[0]
}

export const nameOf = (graph: Graph, id: ValueId) => graph.values[id].name

/** The module path of what makes a node's input. */
export const sourceOf = (graph: Graph, node: Node, input: string) =>
  graph.nodes.find(({ outputs }) => Object.values(outputs).includes(node.inputs[input]))?.name

export function count(graph: Graph): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const { op } of graph.nodes) counts[op] = (counts[op] ?? 0) + 1
  return counts
}
