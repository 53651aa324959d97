import type { Graph, Node, ValueId } from '../graph.js'
import { GraphEditor } from '../rewrite.js'

/**
 * Drops nodes and values that no output needs, and a norm's sum that nothing reads. What fills a layer of the cache is
 * needed as long as that layer's attention is. Layers keep their numbers, since programs of one model share its cache.
 */
export function deadCode(graph: Graph): Graph {
  const needed = new Set<ValueId>(Object.values(graph.outputs))
  const neededLayers = new Set<unknown>()
  const editor = new GraphEditor(graph)
  for (const node of [...graph.nodes].reverse()) {
    const fillsCache = node.op === 'kv-append' && neededLayers.has(node.attributes.layer)
    if (!fillsCache && !Object.values(node.outputs).some((id) => needed.has(id))) {
      editor.replace([node], node, [])
      continue
    }
    for (const id of Object.values(node.inputs)) needed.add(id)
    if (node.op === 'attention') neededLayers.add(node.attributes.layer)
    if (node.outputs.sum !== undefined && !needed.has(node.outputs.sum)) {
      editor.replace([node], node, [withoutSum(node)])
    }
  }
  return editor.finish()
}

function withoutSum(node: Node): Node {
  const { sum, ...outputs } = node.outputs
  return { ...node, outputs }
}
