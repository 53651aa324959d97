import type { Graph } from '../graph/graph.js'

/** The heads that each layer of the KV cache holds, read off a recorded graph. */
export function attentionLayers(graph: Graph): { kvHeads: number; headSize: number }[] {
  return graph.nodes
    .filter((node) => node.op === 'attention')
    .sort((a, b) => Number(a.attributes.layer) - Number(b.attributes.layer))
    .map((node) => ({ kvHeads: Number(node.attributes.kvHeads), headSize: Number(node.attributes.headSize) }))
}
