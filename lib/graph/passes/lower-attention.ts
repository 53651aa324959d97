import type { Graph, Node } from '../graph.js'
import { GraphEditor } from '../rewrite.js'

/**
 * Takes recorded attention apart: keys and values go to the paged cache, queries read them there.
 *
 *     attention(q, k, v)   ->   kv-append(k, v); attention(q)
 */
export function lowerAttention(graph: Graph): Graph {
  const editor = new GraphEditor(graph)
  for (const node of editor.nodes('attention')) {
    if (node.inputs.k === undefined) continue
    const { k, v, ...inputs } = node.inputs
    editor.replace([node], node, [kvAppend(node), { ...node, inputs }])
  }
  return editor.finish()
}

function kvAppend({ name, inputs, attributes }: Node): Node {
  const { k, v, queryStarts, contextLengths, blockTables } = inputs as Record<string, number>
  const { layer, kvHeads, headSize } = attributes as Record<string, number>
  return {
    op: 'kv-append',
    name,
    inputs: {
      k: k!,
      v: v!,
      queryStarts: queryStarts!,
      contextLengths: contextLengths!,
      blockTables: blockTables!,
    },
    outputs: {},
    attributes: { layer: layer!, kvHeads: kvHeads!, headSize: headSize! },
  }
}
